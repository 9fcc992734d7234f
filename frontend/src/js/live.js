// The live line. A websocket message is a hint, never the truth: alarm events are numbered, and
// what is missed (a gap, a reconnect, a tab that slept) is asked for over HTTP.
import { figure, word } from "./words.js";
import { agoText } from "./moments.js";
import { toastOf } from "./toasts.js";

const LOOK_MS = 1000;
const PING_MS = 2000;
const SILENT_MS = 3500;
const BANNER_MS = 2500;
const SAID_KINDS = new Set(["opened", "reopened", "worsened", "cleared"]);
const TOASTS_AT_ONCE = 3;

export class Live {
  constructor(url, user) {
    this.url = new URL(url, location.href);
    this.url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.key = `ohmwatch-live-${user}`;
    const kept = Number(sessionStorage.getItem(this.key));
    this.last = kept > 0 ? kept : null;
    this.failures = 0;
    this.catching = false;
  }

  start() {
    this.connect();
    setInterval(() => this.beat(), LOOK_MS);
    addEventListener("online", () => this.connect());
    addEventListener("offline", () => this.lost(0));
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.wake(); });
    addEventListener("pageshow", (event) => { if (event.persisted) this.wake(); });
  }

  connect() {
    if (this.socket && this.socket.readyState <= WebSocket.OPEN) return;
    clearTimeout(this.retry);
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.heard = performance.now();
    socket.addEventListener("open", () => this.opened(socket));
    socket.addEventListener("message", (message) => this.hear(message));
    socket.addEventListener("close", () => { if (socket === this.socket) this.closed(); });
  }

  opened(socket) {
    this.watch();
    if (this.last !== null) socket.send(JSON.stringify({ after: this.last }));
  }

  closed() {
    this.socket = null;
    this.failures += 1;
    this.lost(BANNER_MS);
    const wait = 500 + Math.random() * Math.min(4500, 500 * 2 ** Math.min(this.failures, 5));
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.connect(), Math.min(wait, 5000));
  }

  lost(afterMs) {
    if (this.bannerDue) return;
    this.bannerDue = setTimeout(() => {
      document.getElementById("connection-lost")?.removeAttribute("hidden");
      document.body.dataset.connection = "lost";
    }, afterMs);
  }

  well() {
    this.failures = 0;
    clearTimeout(this.bannerDue);
    this.bannerDue = null;
    document.getElementById("connection-lost")?.setAttribute("hidden", "");
    document.body.dataset.connection = "live";
  }

  beat() {
    const socket = this.socket;
    if (!socket) return;
    if (performance.now() - this.heard > SILENT_MS && !document.hidden) {
      this.socket = null;
      socket.close();
      this.lost(0);
      this.closed();
    } else if (socket.readyState === WebSocket.OPEN && performance.now() - (this.pinged ?? 0) > PING_MS - LOOK_MS / 2) {
      this.pinged = performance.now();
      socket.send(JSON.stringify({ ping: Date.now() }));
    }
  }

  wake() {
    this.heard = performance.now();
    this.connect();
    this.catchUp();
  }

  watch() {
    const found = [...document.querySelectorAll("[data-watch]")].map((element) => element.dataset.watch);
    const connectors = [...new Set(found)].slice(0, 200);
    if (connectors.length && this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ watch: connectors }));
  }

  hear(message) {
    this.heard = performance.now();
    const said = JSON.parse(message.data);
    if (said.type === "hello") this.hello(said.number);
    else if (said.type === "latest") this.hello(said.number);
    else if (said.type === "alarm") this.alarm(said);
    else if (said.type === "state") showState(said);
    this.well();
  }

  hello(number) {
    if (this.last === null || number < this.last) this.keep(number);
    else if (number > this.last) this.catchUp();
  }

  alarm(event) {
    if (this.last !== null && event.number <= this.last) return;
    // Numbers are the tenant's, and not all are ours to see: `previous` is the one before for us.
    if (this.last !== null && this.last < (event.previous ?? event.number - 1)) this.catchUp();
    else this.take([event]);
  }

  async catchUp() {
    if (this.catching || this.last === null) return;
    this.catching = true;
    try {
      const answer = await fetch(`/live/events.json?after=${this.last}`, { headers: { Accept: "application/json" } });
      if (!answer.ok) return;
      const said = await answer.json();
      this.take(said.events.filter((event) => event.number > this.last));
      if (said.more) setTimeout(() => this.catchUp(), 0);
      else if (said.latest > this.last) this.keep(said.latest);
    } catch {
      this.lost(BANNER_MS);
    } finally {
      this.catching = false;
    }
  }

  take(events) {
    if (!events.length) return;
    this.keep(events.at(-1).number);
    events.filter((event) => SAID_KINDS.has(event.kind)).slice(-TOASTS_AT_ONCE).forEach(toastOf);
    clearTimeout(this.telling);
    this.telling = setTimeout(changed, 250);
  }

  keep(number) {
    this.last = number;
    sessionStorage.setItem(this.key, String(number));
  }
}

/** Lists listen for this and fetch themselves anew; the truth is always the server's page. */
async function changed() {
  document.body.dispatchEvent(new CustomEvent("ohm:alarm", { bubbles: true }));
  const answer = await fetch("/alarms/count.json").catch(() => null);
  if (!answer?.ok) return;
  const { open } = await answer.json();
  for (const place of document.querySelectorAll("[data-open-alarms]")) {
    place.textContent = open;
    place.dataset.count = open;
  }
}

const DIGITS = { insulation_kohm: 0, humidity_pct: 0, mating_cycles: 0 };

function showState(state) {
  for (const place of document.querySelectorAll(`[data-watch="${CSS.escape(state.connector)}"]`)) {
    for (const cell of place.querySelectorAll("[data-value]")) {
      const value = state.values[cell.dataset.value];
      if (value !== undefined && value !== null) cell.textContent = figure(value, DIGITS[cell.dataset.value] ?? 1);
    }
    for (const time of place.querySelectorAll("time[data-measured]")) {
      time.dateTime = new Date(state.measured_at).toISOString();
      time.textContent = agoText(new Date(state.measured_at));
    }
    showHealth(place, state.health);
  }
  document.body.dispatchEvent(new CustomEvent("ohm:state", { detail: state }));
}

function showHealth(place, health) {
  for (const pill of place.querySelectorAll("[data-health-pill] .pill")) {
    // What an alarm says comes from the server's page; a reading only ends "no readings yet".
    if (!health || !pill.classList.contains("unknown") || health === "unknown") continue;
    pill.className = `pill ${health}`;
    pill.querySelector("use").setAttribute("href", `${pill.querySelector("use").getAttribute("href").split("#")[0]}#${health}`);
    pill.querySelector("span").textContent = word(health);
  }
}

/** A value nobody renewed for a while turns grey: old is never shown as fresh. */
export function keepFreshness(oldAfterMs = 30_000) {
  setInterval(() => {
    for (const place of document.querySelectorAll(".live[data-watch]")) {
      const time = place.querySelector("time[data-measured]");
      place.classList.toggle("stale", !time?.dateTime || Date.now() - new Date(time.dateTime) > Number(place.dataset.oldAfter || oldAfterMs));
    }
  }, 1000);
}
