// Where data is missing, a line must break: a gap is never drawn as if it had been measured.

/** True where the step after index i is far longer than the steps around it. */
export function breaksAfter(times, i, atLeastMs) {
  const step = times[i + 1] - times[i];
  if (step <= atLeastMs) return false;
  const around = [i - 2, i - 1, i + 1, i + 2].map((k) => times[k + 1] - times[k]).filter((s) => s > 0).sort((a, b) => a - b);
  const usual = around.length ? around[Math.floor(around.length / 2)] : 0;
  return step > 3 * Math.max(usual, atLeastMs / 3);
}

/** The columns with a null row wherever data is missing; counts the gaps. */
export function withGaps(times, columns, atLeastMs) {
  const x = [];
  const out = columns.map(() => []);
  let gaps = 0;
  for (let i = 0; i < times.length; i += 1) {
    x.push(times[i]);
    columns.forEach((column, c) => out[c].push(column[i]));
    if (i + 1 < times.length && breaksAfter(times, i, atLeastMs)) {
      gaps += 1;
      x.push(times[i] + 1);
      out.forEach((column) => column.push(null));
    }
  }
  return { x, columns: out, gaps };
}
