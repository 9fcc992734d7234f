// Times in the viewer's zone. The server writes UTC and says so; here it becomes local.
import { locale, word } from "./words.js";

const full = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const short = new Intl.DateTimeFormat(locale, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const time = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const zoned = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long", hourCycle: "h23" });
const span = (unit) => new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "narrow", maximumFractionDigits: 0 });
const spans = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].map(([unit, s]) => [span(unit), s]);

/** "4m" for 250 s: the largest unit that fits. */
export function age(seconds) {
  const rest = Math.max(0, Math.round(seconds));
  const [format, size] = spans.find(([, s]) => rest >= s) ?? spans.at(-1);
  return format.format(Math.floor(rest / size));
}

export function agoText(date) {
  const seconds = (Date.now() - date) / 1000;
  return seconds < 2 ? word("now") : word("ago").replace("{age}", age(seconds));
}

const write = { full: (d) => full.format(d), short: (d) => short.format(d), time: (d) => time.format(d), ago: agoText };

export function showMoments(root = document) {
  for (const element of root.querySelectorAll("time[data-when]")) {
    const date = new Date(element.dateTime);
    if (Number.isNaN(+date)) continue;
    element.textContent = (write[element.dataset.when] ?? write.full)(date);
    element.title = zoned.format(date);
  }
}

export function keepAges() {
  setInterval(() => {
    for (const element of document.querySelectorAll('time[data-when="ago"]')) element.textContent = agoText(new Date(element.dateTime));
  }, 1000);
}
