// One chart: lines with their min–max envelope, limits, alarms as shaded spans, one shared cursor.
import uPlot from "uplot";
import { figure, locale, word } from "./words.js";
import { withGaps } from "./gaps.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const COLOURS = { temperature_pos_c: "pos", temperature_neg_c: "neg", ambient_c: "ambient", current_a: "current", voltage_v: "voltage" };
const DASHES = { ambient_c: [2, 3], temperature_neg_c: [], imbalance_k: [6, 3] };
const colour = (series) => css(`--plot-${COLOURS[series.like ?? series.name] ?? "voltage"}`);
const faint = (value, percent) => `color-mix(in srgb, ${value} ${percent}%, transparent)`;

const parts = [
  [86400, { month: "short", day: "numeric" }],
  [60, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }],
  [0, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }],
].map(([from, options]) => [from, new Intl.DateTimeFormat(locale, options)]);
const day = new Intl.DateTimeFormat(locale, { month: "short", day: "numeric" });

function ticks(plot, splits, axis, space, step) {
  const format = parts.find(([from]) => step >= from)[1];
  let before = "";
  return splits.map((seconds) => {
    const date = new Date(seconds * 1000);
    const on = day.format(date);
    const text = step >= 86400 || on === before ? format.format(date) : `${format.format(date)}\n${on}`;
    before = on;
    return text;
  });
}

export class Chart {
  constructor(place, spec, { model, sync, onSelect }) {
    Object.assign(this, { place, spec, model, sync, onSelect });
    this.canvas = place.querySelector("[data-canvas]");
    this.values = new Map([...place.querySelectorAll("[data-of]")].map((element) => [element.dataset.of, element]));
    this.alarms = [];
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.canvas);
  }

  size() {
    return { width: Math.max(240, this.canvas.clientWidth), height: this.canvas.clientWidth < 520 ? 190 : 230 };
  }

  /** Draw a series answer anew; returns how many gaps it has. */
  show(data) {
    this.shown = this.spec.series.filter((series) => data.columns[series.name]?.mean.some((value) => value !== null));
    this.place.hidden = this.shown.length === 0;
    if (this.place.hidden) return 0;
    this.alarms = data.alarms;
    this.range = [data.start_ms / 1000, data.end_ms / 1000];
    const { x, columns, gaps } = withGaps(data.time_ms, this.columnsOf(data), data.gap_ms);
    this.data = [x.map((ms) => ms / 1000), ...columns];
    this.draw();
    return gaps;
  }

  columnsOf(data) {
    const found = this.shown.flatMap(({ name, band }) => {
      const column = data.columns[name];
      return band ? [column.mean, column.min, column.max] : [column.mean];
    });
    return this.spec.derated && data.derated_current_a ? [...found, data.derated_current_a, data.derated_current_a.map((a) => (a === null ? null : -a))] : found;
  }

  draw() {
    const cursor = this.plot?.cursor.idx;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), this.data, this.canvas);
    if (cursor === undefined) this.say(null);
  }

  options() {
    const { series, bands } = this.seriesOptions();
    const grid = { stroke: css("--plot-grid"), width: 1 };
    const ink = css("--ink-3");
    const font = `12px ${css("--sans")}`;
    return {
      ...this.size(), series, bands, legend: { show: false },
      scales: { x: { time: true, range: () => this.range }, y: { range: (plot, low, high) => this.heights(low, high) } },
      axes: [
        { stroke: ink, grid, ticks: grid, font, values: ticks, space: 74 },
        { stroke: ink, grid, ticks: grid, font, size: 58, values: (plot, splits) => splits.map((value) => figure(value, Number.isInteger(value) ? 0 : 1)) },
      ],
      cursor: { sync: { key: this.sync.key, setSeries: false }, drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
      select: { show: true },
      hooks: { setCursor: [() => this.say(this.plot?.cursor.idx ?? null)], setSelect: [(plot) => this.selected(plot)], drawClear: [(plot) => this.drawBehind(plot)], draw: [(plot) => this.drawLimits(plot)] },
    };
  }

  seriesOptions() {
    const series = [{}];
    const bands = [];
    for (const each of this.shown) {
      const stroke = colour(each);
      series.push({ stroke, width: 1.75, dash: DASHES[each.name], points: { show: this.data[0].length < 40, size: 4 } });
      if (!each.band) continue;
      const at = series.length;
      series.push({ stroke: "transparent", width: 0, points: { show: false } }, { stroke: "transparent", width: 0, points: { show: false } });
      bands.push({ series: [at + 1, at], fill: faint(stroke, 20) });
    }
    if (series.length < this.data.length) {
      const line = { stroke: css("--plot-derated"), width: 1.25, dash: [5, 4], points: { show: false } };
      series.push(line, { ...line });
    }
    return { series, bands };
  }

  limits() {
    return this.spec.limits(this.model).filter(({ at }) => typeof at === "number");
  }

  heights(low, high) {
    if (low === null || high === null) return [0, 1];
    const limits = this.limits().map(({ at }) => at);
    const top = Math.max(high, ...limits.filter((at) => at > 0 && at < high * 4 + 60));
    const bottom = this.spec.id === "voltage" || this.spec.id === "insulation" ? Math.min(low, ...limits) : Math.min(low, 0);
    const room = Math.max((top - bottom) * 0.08, 0.5);
    return [bottom === 0 ? 0 : bottom - room, top + room];
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (width < 8) return;
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.onSelect(plot.posToVal(left, "x") * 1000, plot.posToVal(left + width, "x") * 1000);
  }

  drawBehind(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    this.alarms.forEach((alarm) => this.drawAlarm(plot, alarm));
    if (this.spec.derated) this.drawDerated(plot);
    ctx.restore();
  }

  drawAlarm(plot, { severity, since_ms, until_ms }) {
    const { ctx, bbox } = plot;
    const from = Math.max(plot.valToPos(since_ms / 1000, "x", true), bbox.left);
    const to = Math.min(plot.valToPos((until_ms ?? Date.now()) / 1000, "x", true), bbox.left + bbox.width);
    if (!(to > from - 1)) return;
    const tint = css(`--${severity}`);
    ctx.globalAlpha = 0.11;
    ctx.fillStyle = tint;
    ctx.fillRect(from, bbox.top, Math.max(to - from, 2), bbox.height);
    ctx.globalAlpha = 1;
    ctx.fillRect(from, bbox.top, Math.max(to - from, 2), 3 * devicePixelRatio);
    ctx.font = `${11 * devicePixelRatio}px ${css("--sans")}`;
    if (to - from > 64 * devicePixelRatio) ctx.fillText(word(severity), from + 5 * devicePixelRatio, bbox.top + 15 * devicePixelRatio);
  }

  drawDerated(plot) {
    const { ctx } = plot;
    const limit = this.data.at(-2);
    const rated = this.model.rated_current_a;
    if (!rated || this.data.length <= this.shown.length * 3) return;
    ctx.fillStyle = faint(css("--plot-derated"), 16);
    for (const side of [1, -1]) {
      ctx.beginPath();
      const at = this.data[0].map((x, i) => [plot.valToPos(x, "x", true), limit[i]]).filter(([, value]) => value !== null);
      at.forEach(([x, value], i) => ctx[i ? "lineTo" : "moveTo"](x, plot.valToPos(side * value, "y", true)));
      at.reverse().forEach(([x]) => ctx.lineTo(x, plot.valToPos(side * rated, "y", true)));
      ctx.fill();
    }
  }

  drawLimits(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    for (const { at, word: name, over } of this.limits()) {
      const y = plot.valToPos(at, "y", true);
      if (y < bbox.top || y > bbox.top + bbox.height) continue;
      ctx.fillStyle = ctx.strokeStyle = css("--plot-limit");
      ctx.lineWidth = 1.5 * devicePixelRatio;
      ctx.setLineDash([7 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.globalAlpha = 0.06;
      ctx.fillRect(bbox.left, over ? bbox.top : y, bbox.width, over ? y - bbox.top : bbox.top + bbox.height - y);
      ctx.globalAlpha = 1;
      ctx.font = `600 ${12 * devicePixelRatio}px ${css("--sans")}`;
      ctx.textAlign = "right";
      ctx.fillText(`${this.place.dataset[name] ?? name} ${figure(at, 0)} ${this.spec.unit}`, bbox.left + bbox.width - 6 * devicePixelRatio, y + (over ? 15 : -6) * devicePixelRatio);
    }
    ctx.restore();
  }

  /** Values under the cursor; without one, the newest. */
  say(index) {
    if (!this.data) return;
    let column = 1;
    for (const { name, band } of this.shown) {
      const values = this.data[column];
      const value = index === null || index === undefined ? values.findLast((each) => each !== null) : values[index];
      const spread = band && index !== null && index !== undefined && value !== null && value !== undefined && this.data[column + 2][index] - this.data[column + 1][index] > 0.1 ? ` (${figure(this.data[column + 1][index], this.spec.digits)} … ${figure(this.data[column + 2][index], this.spec.digits)})` : "";
      const cell = this.values.get(name);
      if (cell) cell.textContent = `${figure(value, this.spec.digits)}${spread} ${this.spec.unit}`;
      column += band ? 3 : 1;
    }
  }
}
