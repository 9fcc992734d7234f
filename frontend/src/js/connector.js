// The page of a connector: its charts, their range (which the address holds), live growth,
// and the same in words and as a table.
import uPlot from "uplot";
import { Chart } from "./chart.js";
import { derive, PLOTS } from "./plots.js";
import { showMoments } from "./moments.js";
import { figure, locale } from "./words.js";

const HOUR_MS = 3_600_000;
const RANGES = { "1h": HOUR_MS, "24h": 24 * HOUR_MS, "7d": 7 * 24 * HOUR_MS, "30d": 30 * 24 * HOUR_MS };
const FRESH_MS = 60_000;
const at = new Intl.DateTimeFormat(locale, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const COLUMNS = [["temperature_pos_c", 1], ["temperature_neg_c", 1], ["ambient_c", 1], ["current_a", 1], ["voltage_v", 0]];

class Charts {
  constructor(root) {
    this.root = root;
    this.model = JSON.parse(document.getElementById("model").textContent);
    const sync = uPlot.sync("connector");
    const options = { model: this.model, sync, onSelect: (start, end) => this.go({ start: Math.round(start), end: Math.round(end) }) };
    this.charts = PLOTS.flatMap((spec) => {
      const place = root.querySelector(`[data-chart="${spec.id}"]`);
      return place ? [new Chart(place, spec, options)] : [];
    });
    this.listen();
    this.load();
  }

  listen() {
    for (const link of this.root.querySelectorAll("[data-range]")) {
      link.addEventListener("click", (event) => { event.preventDefault(); this.go({ range: link.dataset.range }); });
    }
    this.root.addEventListener("dblclick", (event) => { if (event.target.closest("[data-canvas]")) this.go({ range: "24h" }); });
    addEventListener("popstate", () => this.load());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.charts.forEach((chart) => chart.plot && chart.draw()));
    document.body.addEventListener("ohm:state", ({ detail }) => this.grow(detail));
    setInterval(() => { if (this.isRelative() && !document.hidden) this.load(); }, FRESH_MS);
    const toggle = this.root.querySelector("[data-table-toggle]");
    toggle?.addEventListener("click", () => this.asTable(toggle));
  }

  parameters() {
    return new URLSearchParams(location.search);
  }

  isRelative() {
    return !this.parameters().has("start");
  }

  range() {
    const asked = this.parameters();
    const [start, end] = [Number(asked.get("start")), Number(asked.get("end"))];
    if (start > 0 && end > start) return { start, end, name: null };
    const name = RANGES[asked.get("range")] ? asked.get("range") : "24h";
    return { start: Date.now() - RANGES[name], end: Date.now(), name };
  }

  go(change) {
    const next = new URL(location.href);
    for (const name of ["range", "start", "end"]) next.searchParams.delete(name);
    for (const [name, value] of Object.entries(change)) next.searchParams.set(name, value);
    history.pushState(null, "", next);
    this.load();
  }

  async load() {
    const { start, end, name } = this.range();
    for (const link of this.root.querySelectorAll("[data-range]")) {
      if (link.dataset.range === name) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    const asked = (this.asked = Symbol("asked"));
    const answer = await fetch(`${this.root.dataset.series}?start=${Math.floor(start)}&end=${Math.ceil(end)}`).catch(() => null);
    if (asked !== this.asked) return;
    const failed = this.root.querySelector("[data-failed]");
    failed.hidden = Boolean(answer?.ok);
    if (answer?.ok) this.show(await answer.json());
  }

  show(data) {
    data.columns = derive(data.columns);
    this.data = data;
    const gaps = Math.max(0, ...this.charts.map((chart) => chart.show(data)));
    this.root.querySelector("[data-nothing]").hidden = data.time_ms.length > 0;
    this.summarise(gaps);
    if (!this.root.querySelector("[data-table]").hidden) this.fillTable();
  }

  /** A live value goes to the end of what is shown; the server's own answer follows each minute. */
  grow({ connector, measured_at, values }) {
    const data = this.data;
    if (connector !== this.root.dataset.connector || !data || !this.isRelative() || !(measured_at > (data.time_ms.at(-1) ?? 0))) return;
    data.time_ms.push(measured_at);
    for (const [name, column] of Object.entries(data.columns)) {
      if (!column.min) continue;
      for (const kind of ["mean", "min", "max"]) column[kind].push(values[name] ?? null);
    }
    data.derated_current_a?.push(data.derated_current_a.at(-1) ?? null);
    const width = data.end_ms - data.start_ms;
    data.end_ms = Math.max(data.end_ms, measured_at);
    data.start_ms = data.end_ms - width;
    data.columns = derive(data.columns);
    this.charts.forEach((chart) => chart.show(data));
  }

  summarise(gaps) {
    const place = this.root.querySelector("[data-summary]");
    const { columns, time_ms } = this.data;
    const peaks = ["temperature_pos_c", "temperature_neg_c"].map((name) => columns[name]?.max ?? []);
    let best = { value: null, index: 0 };
    peaks.forEach((column) => column.forEach((value, index) => { if (value !== null && (best.value === null || value > best.value)) best = { value, index }; }));
    if (best.value === null) { place.textContent = ""; return; }
    const left = this.model.temperature_limit_c - best.value;
    const current = columns.current_a ?? { min: [], max: [] };
    const lowest = current.min.reduce((a, b) => (b !== null && b < a ? b : a), Infinity);
    const highest = current.max.reduce((a, b) => (b !== null && b > a ? b : a), -Infinity);
    const words = { hottest: figure(best.value), time: at.format(time_ms[best.index]), limit: figure(this.model.temperature_limit_c, 0), left: figure(Math.abs(left)), low: figure(Number.isFinite(lowest) ? lowest : null, 0), high: figure(Number.isFinite(highest) ? highest : null, 0), gaps: figure(gaps, 0) };
    const template = left >= 0 ? place.dataset.below : place.dataset.above;
    place.textContent = template.replace(/\{(\w+)\}/g, (whole, name) => words[name] ?? whole);
  }

  asTable(toggle) {
    const table = this.root.querySelector("[data-table]");
    table.hidden = !table.hidden;
    toggle.setAttribute("aria-pressed", String(!table.hidden));
    if (!table.hidden) this.fillTable();
  }

  fillTable() {
    const body = this.root.querySelector("[data-table] tbody");
    const { time_ms, columns } = this.data;
    const cell = (name, digits, i) => {
      const td = document.createElement("td");
      td.className = "num right";
      const { mean, min, max } = columns[name] ?? {};
      const spread = mean && mean[i] !== null && max[i] - min[i] > 0.05 ? ` (${figure(min[i], digits)} … ${figure(max[i], digits)})` : "";
      td.textContent = mean ? figure(mean[i], digits) + spread : "–";
      return td;
    };
    body.replaceChildren(...time_ms.map((ms, i) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      const time = document.createElement("time");
      time.dateTime = new Date(ms).toISOString();
      time.dataset.when = "full";
      head.append(time);
      row.append(head, ...COLUMNS.map(([name, digits]) => cell(name, digits, i)));
      return row;
    }).reverse());
    showMoments(body);
  }
}

const root = document.querySelector("[data-charts]");
if (root) new Charts(root);
