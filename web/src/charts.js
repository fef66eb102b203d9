// The drawings that need a canvas: the search as dots, the funnel over time, the device's strip.
import uPlot from 'uplot';

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const axis = (more) => ({ stroke: colour('soft'), grid: { stroke: colour('line'), width: 1 }, ticks: { stroke: colour('line'), width: 1 }, ...more });

// 1, 2, 5, 10, ...; all whole steps where the scale spans less than a decade.
const logTicks = (low, high) => {
  const out = [], steps = high / low > 8 ? [1, 2, 5] : high / low > 2.5 ? [1, 1.5, 2, 3, 4, 5, 6, 8] : [1, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2, 2.2, 2.5, 2.8, 3.2, 3.6, 4, 4.5, 5, 5.6, 6.3, 7, 8, 9];
  for (let decade = 10 ** Math.floor(Math.log10(low)); decade <= high; decade *= 10)
    for (const step of steps) if (step * decade >= low && step * decade <= high) out.push(+(step * decade).toPrecision(3));
  return out;
};

// Widths follow the element; each chart tells how to make itself anew when colours change.
export function mount(element, make) {
  let chart = make(element.clientWidth);
  const resized = new ResizeObserver(() => {
    const width = element.clientWidth;
    if (chart && width && width !== chart.width) chart.setSize({ width, height: chart.height });
  });
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  const again = () => { chart?.destroy(); chart = make(element.clientWidth); };
  resized.observe(element);
  scheme.addEventListener('change', again);
  return () => { resized.disconnect(); scheme.removeEventListener('change', again); chart?.destroy(); };
}

// The best of each class after each evaluation, as steps over all dots; failures below the axis.
export function searchChart(element, data, onPick) {
  const { story, improvements, rivals } = data;
  const last = story.of;
  const classes = [0, 1].filter((n) => improvements.some((one) => one.numerics === n));
  return mount(element, (width) => {
    const points = new Set([0, last]);
    for (const one of improvements) points.add(one.place);
    const x = [...points].sort((a, b) => a - b);
    const series = classes.map((n) => {
      const own = improvements.filter((one) => one.numerics === n);
      let at = 0, now = null;
      return x.map((place) => {
        while (at < own.length && own[at].place <= place) now = own[at++].us;
        return now;
      });
    });
    const low = data.usLow, high = data.usHigh;
    const plot = new uPlot({
      width, height: 340, legend: { show: false },
      scales: { x: { time: false, range: [0, Math.max(last, 1)] }, y: { distr: 3, range: [low * 0.85, high * 1.05] } },
      axes: [axis({ label: 'place in the search' }), axis({ label: 'microseconds (logarithmic)', size: 64, splits: (u, _, from, to) => logTicks(from, to), filter: (_, ticks) => ticks, values: (_, ticks) => ticks.map(String) })],
      cursor: { drag: { x: true, y: false } },
      series: [{}, ...classes.map((n) => ({ stroke: colour(n ? 'second' : 'accent'), width: 2, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }))],
      hooks: {
        drawAxes: [(u) => drawDots(u, story, rivals)],
        ready: [(u) => u.over.addEventListener('click', () => onPick?.(nearest(u, story)))],
      },
    }, [x, ...series], element);
    return plot;
  });
}

function drawDots(u, story, rivals) {
  const ctx = u.ctx, size = Math.max(1.6, Math.min(3.4, 900 / Math.sqrt(story.count + 1) / 4)) * devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  const bottom = u.bbox.top + u.bbox.height;
  for (let i = 0; i < story.count; i++) {
    const x = u.valToPos(story.place[i], 'x', true);
    if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
    if (isFinite(story.us[i])) {
      ctx.fillStyle = story.numerics[i] ? colours().second : colours().dot;
      const y = u.valToPos(story.us[i], 'y', true);
      ctx.fillRect(x - size / 2, y - size / 2, size, size);
    } else if (story.verdict[i] > 1) {
      ctx.fillStyle = colours().bad;
      ctx.fillRect(x, bottom - 6 * devicePixelRatio, devicePixelRatio, 6 * devicePixelRatio);
    }
  }
  ctx.strokeStyle = colours().warn;
  ctx.fillStyle = colours().warn;
  ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  for (const rival of rivals ?? []) {
    const y = u.valToPos(rival.us, 'y', true);
    ctx.setLineDash([6, 4]);
    ctx.beginPath(); ctx.moveTo(u.bbox.left, y); ctx.lineTo(u.bbox.left + u.bbox.width, y); ctx.stroke();
    ctx.fillText(rival.name, u.bbox.left + 6, y - 4);
  }
  ctx.restore();
}

let palette = null, paletteOf = '';
function colours() {
  const now = colour('dot');
  if (now !== paletteOf) {
    paletteOf = now;
    palette = { dot: now, second: colour('second'), bad: colour('bad'), warn: colour('warn') };
  }
  return palette;
}

function nearest(u, story) {
  const { left, top } = u.cursor;
  let best = -1, distance = 18 * 18;
  for (let i = 0; i < story.count; i++) {
    if (!isFinite(story.us[i])) continue;
    const dx = u.valToPos(story.place[i], 'x') - left, dy = u.valToPos(story.us[i], 'y') - top;
    if (dx * dx + dy * dy < distance) { distance = dx * dx + dy * dy; best = i; }
  }
  return best;
}

// How verdicts shared the run: stacked shares over forty slices of places.
export function funnelChart(element, story, verdictNames) {
  const slices = Math.min(40, Math.max(1, Math.floor(story.count / 5)));
  const kinds = [...new Set(story.verdict)].sort((a, b) => a - b).filter((v) => v > 0);
  const totals = Array.from({ length: slices }, () => new Map());
  for (let i = 0; i < story.count; i++) {
    const at = Math.min(slices - 1, Math.floor((story.place[i] / story.of) * slices));
    totals[at].set(story.verdict[i], (totals[at].get(story.verdict[i]) ?? 0) + 1);
  }
  const x = totals.map((_, i) => ((i + 0.5) / slices) * story.of);
  const hues = ['accent', 'bad', 'warn', 'second', 'dot'];
  const names = kinds.map((v, k) => ({ name: verdictNames[v], hue: v === 1 ? 'accent' : hues[1 + (k % 4)] }));
  const stop = mount(element, (width) => {
    let under = x.map(() => 0);
    const stacked = kinds.map((v) => {
      under = under.map((below, i) => {
        const all = [...totals[i].values()].reduce((a, b) => a + b, 0);
        return below + (all ? (100 * (totals[i].get(v) ?? 0)) / all : 0);
      });
      return under;
    });
    const order = kinds.map((_, k) => k).reverse();
    return new uPlot({
      width, height: 200, legend: { show: false },
      scales: { x: { time: false, range: [0, Math.max(story.of, 1)] }, y: { range: [0, 100] } },
      axes: [axis({}), axis({ size: 46, values: (_, ticks) => ticks.map((t) => `${t} %`) })],
      series: [{}, ...order.map((k) => ({ stroke: colour(names[k].hue), fill: colour(names[k].hue), width: 1, points: { show: false } }))],
    }, [x, ...order.map((k) => stacked[k])], element);
  });
  return { stop, names };
}

// The device over time: clock, power, heat; marks below where the power limit held it down.
export function stripChart(element, strip, began) {
  const x = strip.map(([at]) => (at - began) / 1000);
  return mount(element, (width) => new uPlot({
    width, height: 190, legend: { show: false },
    scales: { x: { time: false }, mhz: {}, w: {}, c: {} },
    axes: [axis({ label: 'seconds' }), axis({ scale: 'mhz', size: 60, label: 'MHz' }), axis({ scale: 'w', side: 1, size: 54, label: 'W', grid: { show: false } }),
      ...(width > 700 ? [axis({ scale: 'c', side: 1, size: 48, label: '°C', grid: { show: false } })] : [])],
    series: [{}, { scale: 'mhz', stroke: colour('accent'), points: { size: 3 } }, { scale: 'w', stroke: colour('warn'), points: { size: 3 } }, { scale: 'c', stroke: colour('bad'), points: { show: false } }],
    hooks: {
      draw: [(u) => {
        u.ctx.fillStyle = colour('second');
        strip.forEach(([, , , , bits], i) => { if (bits & 4) u.ctx.fillRect(u.valToPos(x[i], 'x', true), u.bbox.top + u.bbox.height - 6 * devicePixelRatio, 2 * devicePixelRatio, 6 * devicePixelRatio); });
      }],
    },
  }, [x, ...[1, 2, 3].map((k) => strip.map((row) => row[k]))], element));
}

// FLOP a byte against TFLOP/s, both logarithmic; a roof is flat, or rises with what memory brings.
export function roofChart(element, points, roofs) {
  const slopes = [roofs.dram, roofs.l2].filter(Boolean), flats = [roofs.tensor, roofs.fma].filter(Boolean), top = flats[0]?.value;
  const named = (c) => `${c.name} ${c.value >= 100 ? Math.round(c.value) : c.value.toPrecision(3)} ${c.unit}`;
  const knees = slopes.flatMap((s) => (top ? [(top * 1000) / s.value] : []));
  const xs = [...points.map((p) => p.intensity), ...knees], ys = [...points.map((p) => p.tflops), ...flats.map((f) => f.value)];
  const range = (list, wide) => (list.length ? [Math.min(...list) / wide, Math.max(...list) * wide] : [1, 10]);
  const [x0, x1] = range(xs, 2), [y0, y1] = range(ys, 2.5);
  return mount(element, (width) => new uPlot({
    width, height: 320, legend: { show: false }, cursor: { show: false },
    scales: { x: { time: false, distr: 3, range: [x0, x1] }, y: { distr: 3, range: [y0, y1] } },
    axes: [axis({ label: 'FLOP for each byte', splits: (u, _, from, to) => logTicks(from, to), filter: (_, ticks) => ticks, values: (_, ticks) => ticks.map((v) => (/^[125]/.test(v) || width > 700 ? String(v) : '')) }),
      axis({ label: 'TFLOP/s', size: 64, splits: (u, _, from, to) => logTicks(from, to), filter: (_, ticks) => ticks, values: (_, ticks) => ticks.map(String) })],
    series: [{}, { paths: () => null, points: { show: false } }],
    hooks: {
      draw: [(u) => {
        const { ctx } = u, ratio = devicePixelRatio, px = (v) => u.valToPos(v, 'x', true), py = (v) => u.valToPos(v, 'y', true);
        ctx.save(); ctx.beginPath(); ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height); ctx.clip();
        ctx.strokeStyle = ctx.fillStyle = colour('second'); ctx.lineWidth = 1.5 * ratio; ctx.font = `${12 * ratio}px system-ui, sans-serif`;
        for (const s of slopes) {
          const end = Math.min(x1, top ? (top * 1000) / s.value : x1), rise = (v) => (v * s.value) / 1000;
          ctx.beginPath(); ctx.moveTo(px(x0), py(rise(x0))); ctx.lineTo(px(end), py(rise(end))); ctx.stroke();
          const at = Math.max(x0 * 1.1, (y0 / s.value) * 1100);
          ctx.textAlign = 'left'; // what uPlot leaves is another
          ctx.fillText(named(s), px(at) + 6 * ratio, py(rise(at)) + 16 * ratio);
        }
        for (const f of flats) {
          ctx.beginPath(); ctx.moveTo(px(slopes.length ? Math.max(x0, (f.value * 1000) / Math.max(...slopes.map((s) => s.value))) : x0), py(f.value)); ctx.lineTo(px(x1), py(f.value)); ctx.stroke();
          ctx.textAlign = 'right';
          ctx.fillText(named(f), px(x1) - 6 * ratio, py(f.value) - 5 * ratio);
        }
        for (const p of [...points].sort((a, b) => a.best - b.best)) {
          ctx.fillStyle = colour(p.best ? 'accent' : 'dot');
          ctx.beginPath(); ctx.arc(px(p.intensity), py(p.tflops), (p.best ? 5 : 3) * ratio, 0, 7); ctx.fill();
        }
        ctx.restore();
      }],
    },
  }, [[x0, x1], [null, null]], element));
}
