import htmx from "htmx.org/dist/htmx.esm.js";
import { Live, keepFreshness } from "./live.js";
import { keepAges, showMoments } from "./moments.js";
import { mind } from "./page.js";

window.htmx = htmx;
const { live, user } = document.body.dataset;

showMoments();
keepAges();
keepFreshness();
mind();
// Parts that htmx has put in anew hold times, and maybe connectors to watch.
const line = live ? new Live(live, user) : null;
document.body.addEventListener("htmx:afterSettle", (event) => {
  showMoments(event.target.parentElement ?? document);
  line?.watch();
});
line?.start();
