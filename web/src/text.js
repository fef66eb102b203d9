// Numbers as people read them; the same rules as the command line's.

export const us = (value) => value == null || !isFinite(value) ? '–'
  : `${value >= 1000 ? value.toFixed(0) : value >= 100 ? value.toFixed(1) : value >= 10 ? value.toFixed(2) : value.toFixed(3)} us`;
export const count = (value) => value == null ? '–' : String(value).replace(/\B(?=(\d{3})+$)/g, ' ');
export const share = (part, whole) => whole > 0 ? `${((100 * part) / whole).toFixed(part < whole / 10 ? 1 : 0)} %` : '–';
export const times = (value) => value > 0 ? `${value.toFixed(2)}x` : '–';
export const ratio = (value) => value > 0 ? `${value.toFixed(3)}x` : '–';
export const interval = (score) => score ? `[${us(score.low).replace(' us', '')}, ${us(score.high).replace(' us', '')}]` : '–';
export const duration = (ms) => {
  const s = ms / 1000;
  if (s < 60) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(Math.floor(s % 60)).padStart(2, '0')} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')} min`;
};
export const when = (ms) => new Date(ms).toISOString().replace(/\.\d+Z/, 'Z').replace('T', ' ');
// Of each shape, the library that was hardest to beat: the geometric mean of the speed-ups, and the least. null: none was timed.
export const rivalry = (rivals) => {
  const each = (rivals ?? []).filter((r) => r.hardest && r.graph);
  if (!each.length) return null;
  return { mean: Math.exp(each.reduce((sum, r) => sum + Math.log(r.graph.speedup), 0) / each.length), shapes: each.length,
    least: each.reduce((a, b) => (b.graph.speedup < a.graph.speedup ? b : a)) };
};
export const genes = (object) => Object.entries(object ?? {}).map(([name, value]) => `${name}=${value}`).join(' ');
export const changes = (from, to) => {
  const out = [];
  for (const name of new Set([...Object.keys(from ?? {}), ...Object.keys(to ?? {})]))
    if (String(from?.[name]) !== String(to?.[name])) out.push(`${name} ${from?.[name] ?? '–'} → ${to?.[name] ?? '–'}`);
  return out;
};
