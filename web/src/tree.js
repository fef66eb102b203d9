// The whole run as a tree: first parents make a tidy tree from left to right, second parents are
// arcs. Drawn on a canvas, for there may be a hundred thousand nodes; drag moves, wheel zooms,
// the arrow keys, + and - do the same, a click picks.
import { hierarchy, tree } from 'd3-hierarchy';
import { colour } from './charts.js';

export function layout(story) {
  const children = Array.from({ length: story.count + 1 }, () => []);
  for (let i = 0; i < story.count; i++) children[story.parent[i] >= 0 ? story.parent[i] + 1 : 0].push(i + 1);
  const root = tree().nodeSize([1, 1]).separation(() => 1)(hierarchy(0, (at) => children[at]));
  const x = new Float32Array(story.count), y = new Float32Array(story.count);
  let low = Infinity, high = -Infinity, depth = 1;
  root.each((node) => {
    if (node.data === 0) return;
    x[node.data - 1] = node.depth - 1;
    y[node.data - 1] = node.x;
    low = Math.min(low, node.x); high = Math.max(high, node.x); depth = Math.max(depth, node.depth);
  });
  return { x, y, low, high, depth };
}

export function treeCanvas(canvas, story, arcs, winners, onPick) {
  const place = layout(story);
  const onPath = new Uint8Array(story.count);
  for (const at of winners) for (let i = at; i >= 0; i = story.parent[i]) onPath[i] = 1;
  const view = { k: 1, x: 0, y: 0 };
  const size = () => [canvas.clientWidth, canvas.clientHeight];
  const fit = () => {
    const [w, h] = size();
    view.kx = (w - 40) / Math.max(1, place.depth - 1);
    view.ky = Math.min(18, (h - 30) / Math.max(1, place.high - place.low));
    view.k = 1; view.x = place.depth > 1 ? 20 : w / 2; view.y = h / 2 - ((place.low + place.high) / 2) * view.ky;
  };
  const sx = (i) => view.x + place.x[i] * view.kx * view.k;
  const sy = (i) => view.y + place.y[i] * view.ky * view.k;
  let waiting = false;
  const draw = () => {
    waiting = false;
    const [w, h] = size(), ratio = devicePixelRatio, ctx = canvas.getContext('2d');
    canvas.width = w * ratio; canvas.height = h * ratio;
    ctx.scale(ratio, ratio);
    const line = colour('line'), dot = colour('dot'), accent = colour('accent'), bad = colour('bad'), second = colour('second');
    const lines = (path, hue, width) => {
      ctx.strokeStyle = hue;
      ctx.lineWidth = width;
      ctx.beginPath();
      for (let i = 0; i < story.count; i++) {
        const from = story.parent[i];
        if (from < 0 || onPath[i] !== path) continue;
        const y = sy(i), y0 = sy(from);
        if ((y < -20 && y0 < -20) || (y > h + 20 && y0 > h + 20)) continue;
        const x = sx(i), x0 = sx(from), m = (x + x0) / 2;
        ctx.moveTo(x0, y0); ctx.bezierCurveTo(m, y0, m, y, x, y);
      }
      ctx.stroke();
    };
    lines(0, line, 1);
    ctx.strokeStyle = second; ctx.globalAlpha = Math.max(0.02, Math.min(0.25, 250 / arcs.length)); ctx.lineWidth = 1;
    for (const [child, parent] of arcs) { // each by itself: one path would have one shade
      const x = sx(child), y = sy(child), x0 = sx(parent), y0 = sy(parent);
      ctx.beginPath(); ctx.moveTo(x0, y0); ctx.quadraticCurveTo((x + x0) / 2, Math.min(y, y0) - 24, x, y); ctx.stroke();
    }
    ctx.globalAlpha = 1;
    lines(1, accent, 2);
    const r = Math.max(1, Math.min(4, (view.ky * view.k) / 2.4));
    for (let i = 0; i < story.count; i++) {
      const y = sy(i), x = sx(i);
      if (y < -4 || y > h + 4 || x < -4 || x > w + 4) continue;
      if (onPath[i]) continue;
      ctx.fillStyle = story.verdict[i] > 1 ? bad : dot;
      ctx.fillRect(x - r, y - r, 2 * r, 2 * r);
    }
    ctx.fillStyle = accent;
    for (let i = 0; i < story.count; i++) if (onPath[i]) { ctx.beginPath(); ctx.arc(sx(i), sy(i), 4, 0, 7); ctx.fill(); }
  };
  const redraw = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };
  const zoom = (factor, x, y) => {
    const k = Math.max(0.2, Math.min(400, view.k * factor)), f = k / view.k;
    view.x = x - (x - view.x) * f; view.y = y - (y - view.y) * f; view.k = k;
    redraw();
  };
  let drag = null;
  const listeners = {
    wheel: (e) => { e.preventDefault(); zoom(Math.exp(-e.deltaY / 300), e.offsetX, e.offsetY); },
    pointerdown: (e) => { drag = { x: e.clientX, y: e.clientY, moved: false }; canvas.setPointerCapture(e.pointerId); },
    pointermove: (e) => {
      if (!drag) return;
      const dx = e.clientX - drag.x, dy = e.clientY - drag.y;
      drag.moved ||= Math.abs(dx) + Math.abs(dy) > 3;
      view.x += dx; view.y += dy; drag.x = e.clientX; drag.y = e.clientY;
      redraw();
    },
    pointerup: (e) => {
      if (drag && !drag.moved) {
        let best = -1, distance = 12 * 12;
        for (let i = 0; i < story.count; i++) {
          const d = (sx(i) - e.offsetX) ** 2 + (sy(i) - e.offsetY) ** 2;
          if (d < distance) { distance = d; best = i; }
        }
        if (best >= 0) onPick(best);
      }
      drag = null;
    },
    keydown: (e) => {
      const [w, h] = size(), step = 40;
      const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
      if (moves[e.key]) { view.x += moves[e.key][0]; view.y += moves[e.key][1]; redraw(); }
      else if (e.key === '+' || e.key === '=') zoom(1.4, w / 2, h / 2);
      else if (e.key === '-') zoom(1 / 1.4, w / 2, h / 2);
      else if (e.key === '0') { fit(); redraw(); }
      else return;
      e.preventDefault();
    },
  };
  for (const [name, listener] of Object.entries(listeners)) canvas.addEventListener(name, listener, { passive: false });
  const resized = new ResizeObserver(() => { fit(); redraw(); });
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  resized.observe(canvas);
  scheme.addEventListener('change', redraw);
  fit(); redraw();
  return () => {
    resized.disconnect();
    scheme.removeEventListener('change', redraw);
    for (const [name, listener] of Object.entries(listeners)) canvas.removeEventListener(name, listener);
  };
}
