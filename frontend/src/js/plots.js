// What each chart of a connector shows, in the order in which a person asks.
const lines = (...names) => names.map((name) => ({ name, band: true }));

export const PLOTS = [
  {
    id: "temperature", unit: "°C", digits: 1,
    series: [...lines("temperature_pos_c", "temperature_neg_c"), { name: "ambient_c", band: false }],
    limits: (m) => [{ at: m.temperature_limit_c, word: "limit", over: true }],
  },
  { id: "current", unit: "A", digits: 1, series: lines("current_a"), derated: true, limits: () => [] },
  {
    id: "rise", unit: "K", digits: 1,
    series: [{ name: "rise_pos_k", like: "temperature_pos_c" }, { name: "rise_neg_k", like: "temperature_neg_c" }, { name: "imbalance_k", like: "current_a" }],
    limits: (m) => [{ at: m.temperature_rise_limit_k, word: "limit", over: true }],
  },
  { id: "voltage", unit: "V", digits: 0, series: lines("voltage_v"), limits: (m) => [{ at: m.rated_voltage_v, word: "rated", over: true }] },
  { id: "insulation", unit: "kΩ", digits: 0, series: [{ name: "insulation_kohm", like: "voltage_v", band: true }], limits: (m) => [{ at: m.insulation_minimum_kohm, word: "minimum", over: false }] },
];

const less = (a, b) => a.map((value, i) => (value === null || b[i] === null || b[i] === undefined ? null : value - b[i]));

/** Rise over ambient of both poles and their difference, K, of the means. */
export function derive(columns) {
  const [pos, neg, ambient] = ["temperature_pos_c", "temperature_neg_c", "ambient_c"].map((name) => columns[name]?.mean);
  const made = {};
  if (pos && ambient) made.rise_pos_k = { mean: less(pos, ambient) };
  if (neg && ambient) made.rise_neg_k = { mean: less(neg, ambient) };
  if (pos && neg) made.imbalance_k = { mean: less(pos, neg) };
  return { ...columns, ...made };
}
