// Words of scripts: templates/components/words.html has them in the page's language.
const holder = document.getElementById("words");
export const word = (name) => holder?.dataset[name] ?? "";
const lang = document.documentElement.lang || "en";
// The page's language, in the viewer's own flavour of it: en-GB writes dates as en-US doesn't.
export const locale = navigator.languages?.find((each) => each.toLowerCase().split("-")[0] === lang.split("-")[0]) ?? lang;
export const iconsUrl = holder?.dataset.icons ?? "";

const number = (digits) => new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
const formats = [0, 1, 2, 3].map(number);
export const figure = (value, digits = 1) => (value === null || value === undefined || Number.isNaN(value) ? "–" : formats[digits].format(value));
