// The page of a run. A report holds its data in the element #data; a live page asks the server.
import { h, render } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import htm from 'htm';
import { decodeKernel, decodePairs, decodeStory, indexOfPlace } from './decode.js';
import { funnelChart, roofChart, searchChart, stripChart } from './charts.js';
import { treeCanvas } from './tree.js';
import { KernelPage, SourceDiff } from './kernel.js';
import { Hue, Scroll, Table, number, words } from './parts.js';
import * as t from './text.js';

const html = htm.bind(h);

// A drawing that lives as long as its inputs.
function Drawing({ make, inputs, label, height, canvas }) {
  const ref = useRef();
  useEffect(() => make(ref.current), inputs);
  return canvas
    ? html`<canvas ref=${ref} tabindex="0" role="img" aria-label=${label} style=${{ width: '100%', height: `${height}px`, touchAction: 'none' }}></canvas>`
    : html`<div ref=${ref} class="chart" role="img" aria-label=${label}></div>`;
}

const modelled = (run) => run.backend === 'emu';

function Headline({ data }) {
  const { run } = data, best = data.kernels.find((k) => k.place === run.best_place) ?? data.kernels[0];
  const shapes = [...new Set(data.kernels.flatMap((k) => k.problems.map((p) => p.problem)))].join(', ');
  const gain = run.best && run.founder ? run.founder.us / run.best.us : 0, rivals = t.rivalry(best?.rivals);
  return html`<header>
    <p class="soft">evo · ${run.name} · ${run.device || 'no device yet'}${data.live ? html` <span class="live" role="status">live</span>` : ''}</p>
    <h1>${best ? html`${best.family} n${best.place}: ${t.us(best.score.us)}` : 'No kernel has passed yet'}</h1>
    ${best && html`<p class="lead">On ${shapes}, the fastest verified kernel takes <strong>${t.us(best.score.us)}</strong>${' '}
      (95 % interval ${t.interval(best.score)})${gain > 0 ? html`, <strong>${t.times(gain)}</strong> as fast as the founder of its seed (${t.us(run.founder.us)})` : ''}.${' '}
      ${rivals ? html`Timed in turns with ${[...new Set(best.rivals.filter((r) => r.graph).map((r) => r.rival))].join(' and ')}, it is <strong>${t.ratio(rivals.mean)}</strong> as fast as the hardest to beat${rivals.shapes > 1 ? `, on ${rivals.least.problem} ${t.ratio(rivals.least.graph.speedup)}` : ''}. ` : ''}
      It was found after ${t.count(run.best_evaluation)} of ${t.count(run.finished)} evaluations${run.strategy !== 'evo' ? ` by the strategy '${run.strategy}'` : ''}.
      ${modelled(run) ? ' Times are modelled by the emulated device: they rank, they are not measurements.' : ''}</p>`}
    <dl class="facts">
      ${[['evaluated', t.count(run.finished)], ['passed the gate', t.share(run.passed, run.finished)], ['aliases', t.count(run.aliases)],
    ['elapsed', t.duration(run.elapsed_ms)], ['device busy', run.backend === 'replay' ? '–' : t.share(Math.min(run.device_ms, run.elapsed_ms), run.elapsed_ms)], ['rate', run.elapsed_ms ? `${Math.round((60e3 * run.finished) / run.elapsed_ms)}/min` : '–'],
    ['state', run.state === 'ended' ? 'ended' : data.live ? 'open' : 'open when written']].map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>
    <nav aria-label="parts of this page"><ul>${SECTIONS.filter((s) => !s.when || s.when(data)).map((s) => html`<li><a href=${`#${s.id}`}>${s.title}</a></li>`)}</ul></nav>
  </header>`;
}

function Search({ data, pick }) {
  return html`<${Drawing} label=${`Every evaluation as a dot, the best so far as a line: ${data.improvements.length} improvements, from ${t.us(data.improvements[0]?.us)} to ${t.us(data.run.best?.us)}`}
      inputs=${[data.story]} make=${(element) => searchChart(element, data, (at) => at >= 0 && pick(data.story.place[at]))} />
    <ul class="legend"><${Hue} of="accent">best so far, FP32 accumulation<//><${Hue} of="second">FP16 accumulation<//>
      <${Hue} of="dot">passed<//><${Hue} of="bad">failed (ticks below)<//>${data.rivals.length > 0 && html`<${Hue} of="warn">libraries, timed in turns with the best<//>`}<li>drag to zoom, double click to see all, click a dot for its kernel</li></ul>
    <details><summary>the improvements as a table</summary>
    <${Table} caption="Each moment at which the best changed" rows=${data.improvements} columns=${[
    words('kernel', (r) => r.place, (r) => html`<button class="link" type="button" onClick=${() => pick(r.place)}>n${r.place}</button>`),
    number('time', (r) => r.us, (r) => t.us(r.us)),
    words('class', (r) => r.numerics, (r) => (r.numerics ? 'fp16' : 'fp32')),
    words('family', (r) => r.family),
    words('by', (r) => r.operator),
    number('after evaluations', (r) => r.evaluation, (r) => t.count(r.evaluation))]} /></details>
    ${data.story.count < data.story.of && html`<p class="soft">${t.count(data.story.count)} of ${t.count(data.story.of)} places are drawn: all improvements with their ancestors, and an even part of the others.</p>`}`;
}

function Funnel({ data }) {
  const names = useRef([]), [, again] = useState(0), whole = data.funnel[0]?.count ?? 0;
  return html`<div class="columns"><div><table><caption>How far proposals came</caption><tbody>${data.funnel.map((rung) => html`<tr><th scope="row">${rung.rung}</th>
      <td class="right">${t.count(rung.count)}</td><td class="right">${t.share(rung.count, whole)}</td><td style="width:45%"><div class="bar" style=${{ width: `${whole ? (100 * rung.count) / whole : 0}%` }}></div></td></tr>`)}</tbody></table></div>
    <div><${Drawing} label="Shares of the verdicts over the run" inputs=${[data.story]} make=${(element) => {
    const chart = funnelChart(element, data.story, data.verdicts);
    names.current = chart.names; again((n) => n + 1);
    return chart.stop;
  }} /><ul class="legend">${names.current.map((n) => html`<${Hue} of=${n.hue}>${n.name}<//>`)}</ul></div></div>`;
}

function Kernels({ data, chosen, pick }) {
  const rows = data.kernels, best = rows[0];
  const low = Math.min(...rows.map((r) => r.score.low)), high = Math.max(...rows.slice(0, 30).map((r) => r.score.high));
  const at = (us) => `${Math.max(0, Math.min(100, (100 * (us - low)) / (high - low || 1)))}%`;
  const tie = (row) => row !== best && row.numerics === best.numerics && row.score.low <= best.score.high;
  return html`<${Table} caption="The fastest verified kernels; grey: within the best one's interval, a tie" rows=${rows}
    rowProps=${(r) => ({ class: `${tie(r) ? 'tie ' : ''}${chosen === r.place ? 'chosen' : ''}` })} columns=${[
    words('kernel', (r) => r.place, (r) => html`<button class="link" type="button" onClick=${() => pick(r.place)}>n${r.place}</button>`),
    number('time', (r) => r.score.us, (r) => t.us(r.score.us)),
    { title: '95 % interval', cell: (r) => html`<div class="interval" title=${t.interval(r.score)}><i style=${{ left: at(r.score.low), right: `calc(100% - ${at(r.score.high)})` }}></i><b style=${{ left: at(r.score.us) }}></b></div>` },
    number('TFLOP/s', (r) => r.tflops, (r) => r.tflops?.toFixed(2) ?? '–'),
    number('over seed', (r) => r.gain, (r) => t.times(r.gain)),
    ...(rows.some((r) => t.rivalry(r.rivals)) ? [number('over libraries', (r) => t.rivalry(r.rivals)?.mean ?? 0, (r) => t.ratio(t.rivalry(r.rivals)?.mean))] : []),
    words('class', (r) => r.numerics),
    words('family', (r) => r.family),
    number('regs', (r) => r.registers, (r) => r.registers || '–'),
    number('spills', (r) => r.spill_bytes, (r) => (r.registers ? r.spill_bytes : '–')),
    { title: 'genes', cell: (r) => html`<span class="genes">${t.genes(r.genes)}</span>` }]} />`;
}

function Shapes({ data }) {
  const shapes = [...new Set(data.kernels.flatMap((k) => k.problems.map((p) => p.problem)))];
  const rows = shapes.map((shape) => {
    const timed = data.kernels.map((k) => ({ k, p: k.problems.find((p) => p.problem === shape) })).filter(({ p }) => p?.score);
    timed.sort((a, b) => a.p.score.us - b.p.score.us);
    const single = timed.find(({ k }) => k.place === data.run.best_place);
    return { shape, champion: timed[0], single };
  }).filter((r) => r.champion);
  return html`<${Table} caption="For each shape the fastest of the kernels above, and what the best kernel for all shapes costs there" rows=${rows} columns=${[
    words('shape', (r) => r.shape, (r) => html`<code>${r.shape}</code>`),
    words('champion', (r) => r.champion.k.place, (r) => `n${r.champion.k.place} ${r.champion.k.family}`),
    number('time', (r) => r.champion.p.score.us, (r) => t.us(r.champion.p.score.us)),
    { title: 'in a graph', right: true, cell: (r) => t.us(r.champion.p.graph_us) },
    { title: 'best for all', right: true, cell: (r) => t.us(r.single?.p.score.us) },
    number('regret', (r) => (r.single ? r.single.p.score.us / r.champion.p.score.us : null), (r) => (r.single ? `${(100 * (r.single.p.score.us / r.champion.p.score.us - 1)).toFixed(1)} %` : '–'))]} />`;
}

function Lineage({ data, pick }) {
  const byPlace = new Map(data.lineage.map((row) => [row.place, row]));
  const chain = [];
  for (let row = byPlace.get(data.run.best_place); row; row = byPlace.get(row.parents?.[0])) chain.unshift(row);
  if (chain.length === 0) return html`<p class="soft">Nothing has passed yet.</p>`;
  return html`<ol class="lineage">${chain.map((row, i) => {
    const parent = chain[i - 1], gain = parent?.score && row.score ? parent.score.us / row.score.us : 0;
    const changed = parent ? (parent.family !== row.family ? [`${parent.family} → ${row.family}`, ...t.changes(parent.genes, row.genes)] : t.changes(parent.genes, row.genes)) : [t.genes(row.genes)];
    return html`<li><button class="plain" type="button" onClick=${() => pick(row.place)}>n${row.place}</button> ${row.operator}${row.parents?.length > 1 ? ` with n${row.parents[1]}` : ''}:
      <strong> ${t.us(row.score?.us)}</strong>${gain > 0 ? ` (${gain >= 1 ? '' : 'slower, '}${t.times(gain)})` : ''}<br /><span class="genes">${changed.join(', ') || 'nothing'}</span></li>`;
  })}</ol>`;
}

function Tree({ data, pick }) {
  const winner = data.run.best_place >= 0 ? indexOfPlace(data.story, data.run.best_place) : -1;
  return html`<${Drawing} canvas height=${460} label=${`The lineage of ${t.count(data.story.count)} kernels; the winner's path is drawn strong`} inputs=${[data.story]}
    make=${(canvas) => treeCanvas(canvas, data.story, data.story.arcs, winner >= 0 ? [winner] : [], (at) => pick(data.story.place[at]))} />
    <ul class="legend"><${Hue} of="accent">the winner's ancestors<//><${Hue} of="bad">failed<//><${Hue} of="second">second parents (arcs)<//>
    <li>drag or arrow keys move, wheel or + and − zoom, 0 shows all, click picks</li></ul>`;
}

// Worst to best on one hue; light enough for dark text in both schemes.
const shade = (value) => `hsl(${Math.round(20 + 130 * value)} 55% ${Math.round(72 + 8 * value)}%)`;

function Heat({ data }) {
  const [at, setAt] = useState(0), [a, setA] = useState(0), [b, setB] = useState(1);
  const map = data.heat[Math.min(at, data.heat.length - 1)];
  const means = map.genes.flatMap((g) => g.values.map((v) => v.tally[3]).filter((x) => x > 0)).map(Math.log);
  const low = Math.min(...means), high = Math.max(...means);
  const good = (mean) => (mean > 0 && high > low ? 1 - (Math.log(mean) - low) / (high - low) : 0.5);
  const pairs = useMemo(() => decodePairs(map, data.rawStory), [map]);
  const sortValues = (gene) => gene.values.map((v, i) => ({ ...v, i })).sort((x, y) => x.value - y.value || String(x.value).localeCompare(String(y.value)));
  const inSight = a === b || !map.genes[a] || !map.genes[b] ? [] : map.genes[a].values.flatMap((_, u) => map.genes[b].values.map((_, v) => pairs(a, u, b, v)?.best)).filter((x) => x > 0);
  const bl = Math.log(Math.min(...inSight)), bh = Math.log(Math.max(...inSight));
  return html`
    ${data.heat.length > 1 && html`<p><label>family <select value=${at} onChange=${(e) => { setAt(+e.target.value); setA(0); setB(1); }}>${data.heat.map((m, i) => html`<option value=${i}>${m.family}</option>`)}</select></label></p>`}
    <p class="soft">Each value of a gene: geometric mean of the times of what passed with it; greener is faster, a dash never passed. In brackets: tried.</p>
    <div role="list">${map.genes.map((gene) => html`<div class="heat-row" role="listitem"><strong class="genes">${gene.name}</strong><div class="heat-cells">${sortValues(gene).map((v) => html`<span style=${{ background: v.tally[1] ? shade(good(v.tally[3])) : 'var(--line)' }}
      title=${`${gene.name} = ${v.value}: ${v.tally[0]} tried, ${v.tally[1]} passed, best ${t.us(v.tally[2])}, mean ${t.us(v.tally[3])}`}>${v.value}: ${v.tally[1] ? t.us(v.tally[3]).replace(' us', '') : '–'} (${v.tally[0]})</span>`)}</div></div>`)}</div>
    ${map.genes.length > 1 && map.genes[a] && map.genes[b] && html`<h3>Two genes at once</h3><p><label>rows <select value=${a} onChange=${(e) => setA(+e.target.value)}>${map.genes.map((g, i) => html`<option value=${i}>${g.name}</option>`)}</select></label>
      <label> columns <select value=${b} onChange=${(e) => setB(+e.target.value)}>${map.genes.map((g, i) => html`<option value=${i}>${g.name}</option>`)}</select></label></p>
    <${Scroll} label="Interaction of two genes"><table class="heat"><caption>Best time with each pair of values, and how often it was tried</caption>
      <thead><tr><td></td>${sortValues(map.genes[b]).map((v) => html`<th scope="col">${v.value}</th>`)}</tr></thead>
      <tbody>${sortValues(map.genes[a]).map((u) => html`<tr><th scope="row">${u.value}</th>${sortValues(map.genes[b]).map((v) => {
    const pair = a === b ? null : pairs(a, u.i, b, v.i);
    return pair ? html`<td class="cell" style=${{ background: pair.best ? shade(bh > bl ? 1 - (Math.log(pair.best) - bl) / (bh - bl) : 0.5) : 'var(--line)' }}>${pair.best ? t.us(pair.best).replace(' us', '') : '–'} <small>(${pair.tried})</small></td>` : html`<td class="cell none">·</td>`;
  })}</tr>`)}</tbody></table><//>`}`;
}

function Shares({ data }) {
  const columns = (title) => [
    words(title, (r) => r.name),
    number('tried', (r) => r.tried, (r) => t.count(r.tried)),
    number('passed', (r) => r.passed / r.tried, (r) => t.share(r.passed, r.tried)),
    number('aliases', (r) => r.aliases, (r) => t.count(r.aliases)),
    number('improved', (r) => r.improved, (r) => t.count(r.improved)),
    number('best', (r) => r.best_us, (r) => t.us(r.best_us))];
  const islands = data.islands.map((r, i) => ({ ...r, name: `island ${i}` }));
  return html`<div class="columns"><div><${Table} caption="What each way of proposing has brought" rows=${data.operators} columns=${columns('operator')} start=${{ by: 'improved', down: true }} /></div>
    <div><${Table} caption="What each family has brought" rows=${data.families} columns=${columns('family')} />${islands.length > 1 && html`<${Table} caption="And each island" rows=${islands} columns=${columns('island')} />`}</div></div>`;
}

function Health({ data }) {
  if (!data.strip.some(([, mhz, w]) => mhz != null || w != null)) return html`<p class="soft">No clocks or power were read: ${modelled(data.run) ? 'the device is emulated.' : 'the device does not tell them.'}</p>`;
  const held = data.strip.filter(([, , , , bits]) => bits & 4).length, told = data.strip.filter(([, , , , bits]) => bits != null).length;
  const hottest = Math.max(...data.strip.map(([, , , c]) => c ?? -Infinity));
  return html`<${Drawing} label="Clock, power and temperature of the device over the run" inputs=${[data.strip]} make=${(element) => stripChart(element, data.strip, data.run.created_at)} />
    <ul class="legend"><${Hue} of="accent">SM clock<//><${Hue} of="warn">power<//><${Hue} of="bad">temperature<//><${Hue} of="second">held down by the power limit (marks below)<//></ul>
    <p class="soft">${told ? `Held down by the power limit in ${held} of ${told} readings. ` : ''}${isFinite(hottest) ? `At most ${hottest} °C.` : ''}</p>`;
}

// Where the fastest stand under the device's roofs: what they compute for each byte of DRAM, and how fast.
const perFma = (c) => c && { ...c, value: (c.value * 64) / 1000, unit: 'TFLOP/s' }; // of warps' instructions: 32 products and sums
function Roofline({ data }) {
  const roof = (...names) => names.map((name) => data.ceilings.find((c) => c.name === name)).find(Boolean);
  const roofs = { tensor: roof('wgmma_n256', 'wgmma_n128', 'mma_f16_f32'), fma: perFma(roof('fma')), dram: roof('dram'), l2: roof('l2') };
  const points = data.kernels.filter((k) => k.score).flatMap((k) => k.problems.filter((p) => p.score && p.flops && p.bytes).map((p) => {
    const counted = (name) => k.metrics?.find((m) => m.name === name && k.problems[m.problem]?.problem === p.problem)?.value;
    const moved = (counted('hw_dram_read') ?? 0) + (counted('hw_dram_write') ?? 0);
    return { place: k.place, family: k.family, problem: p.problem, tflops: (p.flops / p.score.us) * 1e-6, counted: moved > 0, intensity: p.flops / (moved > 0 ? moved : p.bytes), best: k.place === data.run.best_place };
  }));
  const best = points.filter((p) => p.best), top = roofs.tensor?.value;
  return html`<${Drawing} label=${`Roofline: ${points.length} points; the best kernel reaches ${best.map((p) => `${p.tflops.toFixed(1)} TFLOP/s on ${p.problem}`).join(', ')}`} inputs=${[data.kernels, data.ceilings]} make=${(element) => roofChart(element, points, roofs)} />
    <ul class="legend"><${Hue} of="accent">the best<//><${Hue} of="dot">the others of the fastest<//><${Hue} of="second">roofs<//></ul>
    <${Table} caption="The best kernel under the roofs" rows=${best} columns=${[
    words('shape', (r) => r.problem, (r) => html`<code>${r.problem}</code>`),
    number('TFLOP/s', (r) => r.tflops, (r) => r.tflops.toFixed(2)),
    number('of the tensor roof', (r) => r.tflops, (r) => (top ? t.share(r.tflops, top) : '–')),
    number('FLOP a byte', (r) => r.intensity, (r) => r.intensity.toFixed(1)),
    words('bytes', (r) => r.counted, (r) => (r.counted ? 'counted at DRAM' : 'each of Q, K, V, O once'))]} />
    ${data.ceilings.length ? html`<details><summary>what the device can do at most (${data.ceilings.length})</summary><table><tbody>${data.ceilings.map((c) => html`<tr><th scope="row">${c.name}</th><td class="right">${c.value.toPrecision(4)}</td><td>${c.unit}</td><td>${c.doc}</td></tr>`)}</tbody></table></details>`
    : html`<p class="soft">Nobody measured what this device can do: <code>evo microbench</code> does, and draws the roofs.</p>`}
    ${data.ceilings.some((c) => c.modelled) && html`<p class="soft">The roofs are those of the emulated device's model.</p>`}`;
}

function Method({ data }) {
  const { run } = data;
  return html`<p>A kernel is timed only after the gate found it right: FP64 reference, several families of inputs drawn from a secret, poisoned outputs, guarded buffers,
    repeated launches. What is called best was judged a second time by a fresh process, on shapes the search never timed, and it is that second time which is told.
    ${modelled(run) ? ' Here a machine in C ran the very PTX, and the times are a model of an H200.' : ' Times are spans of activity records; intervals are at 95 %.'}</p>
    <table><caption>This run</caption><tbody>${[['evo', run.evo], ['device', `${run.device} (${run.backend})`], ['seed', run.seed_path], ['strategy', run.strategy], ['begun', t.when(run.created_at)],
    ['ended', run.state === 'ended' ? run.ended_because : 'it is open']].map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>`)}</tbody></table>
    <h3>To do it again</h3><pre tabindex="0">${`evo start --seed ${run.seed_path} --db again.db${run.strategy !== 'evo' ? ` --strategy ${run.strategy}` : ''}\nevo lineage best --db again.db\nevo export best --db again.db -o winner.cu && evo verify winner.cu`}</pre>
    <details><summary>the seed as it was</summary><pre tabindex="0">${run.seed}</pre></details>
    <details><summary>what happened (${data.events.length})</summary><table><tbody>${data.events.map((e) => html`<tr><td>${t.when(e.at)}</td><td>${e.kind}</td><td>${e.text}</td></tr>`)}</tbody></table></details>`;
}

const SECTIONS = [
  { id: 'search', title: 'The search', part: Search },
  { id: 'fastest', title: 'The fastest', part: Kernels, when: (d) => d.kernels.length > 0 },
  { id: 'kernel', title: 'One kernel', part: KernelSection, when: (d) => d.kernels.length > 0 },
  { id: 'shapes', title: 'Shapes', part: Shapes, when: (d) => d.kernels.some((k) => k.problems.length > 0) },
  { id: 'roofline', title: 'Roofline', part: Roofline, when: (d) => d.kernels.some((k) => k.problems.some((p) => p.flops && p.score)) },
  { id: 'lineage', title: 'Where the best came from', part: Lineage },
  { id: 'tree', title: 'The whole tree', part: Tree, when: (d) => d.story.count > 0 },
  { id: 'funnel', title: 'Funnel', part: Funnel },
  { id: 'genes', title: 'Genes', part: Heat, when: (d) => d.heat.some((m) => m.genes.length > 0) },
  { id: 'operators', title: 'Operators, families, islands', part: Shares },
  { id: 'device', title: 'The device', part: Health },
  { id: 'method', title: 'Method', part: Method },
];

function KernelSection({ data, chosen }) {
  const kernel = data.kernels.find((k) => k.place === chosen) ?? data.parents[chosen] ?? null;
  const row = data.lineage.find((r) => r.place === chosen);
  if (!kernel) {
    const at = indexOfPlace(data.story, chosen ?? -1);
    return html`<p>${at >= 0 ? html`n${chosen}: ${data.families[data.story.family[at]]?.name}, by ${data.operators[data.story.operator[at]]?.name}, ${data.verdicts[data.story.verdict[at]]}, ${t.us(data.story.us[at])}${row ? `, ${t.genes(row.genes)}` : ''}.` : 'Choose a kernel in a table or a drawing.'}</p>
      ${at >= 0 && html`<p class="soft"><code>evo show n${chosen}</code> tells all of it.</p>`}`;
  }
  const parent = data.parents[kernel.parents?.[0]] ?? data.kernels.find((k) => k.place === kernel.parents?.[0]);
  return html`<${KernelPage} kernel=${kernel} parent=${parent} shapes=${kernel.problems.length} /><${SourceDiff} kernel=${kernel} parent=${parent} />`;
}

// A library's time over the whole workload, as the search's own scores are: by spans, geometric mean of the shapes.
function rivalLines(best) {
  const names = [...new Set((best?.rivals ?? []).map((r) => r.rival))];
  return names.map((name) => {
    const timed = best.rivals.filter((r) => r.rival === name && r.span);
    if (timed.length < best.problems.length) return null;
    return { name, us: Math.exp(timed.reduce((sum, r) => sum + Math.log(r.span.rival_us), 0) / timed.length) };
  }).filter(Boolean);
}

function prepare(report, live) {
  const story = decodeStory(report.story), kernels = report.kernels.map((k) => decodeKernel(k, report));
  const rivals = rivalLines(kernels.find((k) => k.place === report.run.best_place));
  const times = [report.story.us_low, report.story.us_high, ...rivals.map((r) => r.us)].filter((us) => us > 0);
  return {
    ...report, live, story, rawStory: report.story, kernels, rivals,
    parents: Object.fromEntries(Object.entries(report.parents).map(([place, k]) => [place, decodeKernel(k, report)])),
    usLow: times.length ? Math.min(...times) : 1, usHigh: times.length ? Math.max(...times) : 10,
  };
}

// The first sections are painted before the others are made: a large run takes a moment.
function useGrowing(whole) {
  const [shown, setShown] = useState(1);
  useEffect(() => {
    if (shown >= whole) {
      if (location.hash.length > 1) document.getElementById(location.hash.slice(1))?.scrollIntoView();
      return undefined;
    }
    let timer;
    const frame = requestAnimationFrame(() => { timer = setTimeout(() => setShown(shown + 1)); });
    return () => { cancelAnimationFrame(frame); clearTimeout(timer); };
  }, [shown]);
  return shown;
}

function App({ first, live }) {
  const [data, setData] = useState(first), [chosen, setChosen] = useState(null);
  const shown = useGrowing(SECTIONS.length);
  useEffect(() => {
    if (!live) return;
    return live((report) => setData(prepare(report, true)), (status) => setData((now) => ({ ...now, run: { ...now.run, ...status } })));
  }, []);
  const pick = (place) => {
    setChosen(place);
    document.getElementById('kernel')?.scrollIntoView({ behavior: 'smooth', block: 'start' });
  };
  const selected = chosen ?? data.run.best_place;
  return html`<${Headline} data=${data} /><main id="main">${SECTIONS.slice(0, shown).filter((s) => !s.when || s.when(data)).map((s) => html`<section id=${s.id} key=${s.id} aria-labelledby=${`${s.id}-title`}>
      <h2 id=${`${s.id}-title`}>${s.title}${s.id === 'kernel' ? `: n${selected}` : ''}</h2><${s.part} data=${data} chosen=${selected} pick=${pick} /></section>`)}</main>
    <footer>written by evo ${data.run.evo}; everything on this page stands in the database</footer>`;
}

// A live page: figures with each event, and the report again, but for a tenth of the time at most.
function follow(token) {
  return (update, figures) => {
    let timer = null, after = 0;
    const refresh = async () => {
      const began = performance.now();
      try {
        const answer = await fetch(`api/report?token=${token}`);
        if (answer.ok) update(await answer.json());
      } catch { /* the next event tries again */ }
      after = performance.now() + Math.max(3000, 10 * (performance.now() - began));
      timer = null;
    };
    const events = new EventSource(`events?token=${token}`);
    events.addEventListener('progress', (event) => {
      const { proposed, finished, passed, elapsed_ms } = JSON.parse(event.data);
      figures({ proposed, finished, passed, elapsed_ms });
      timer ??= setTimeout(refresh, Math.max(0, after - performance.now()));
    });
    return () => { events.close(); clearTimeout(timer); };
  };
}

async function begin() {
  const root = document.getElementById('app'), held = document.getElementById('data');
  if (held) {
    const data = prepare(JSON.parse(held.textContent), false);
    document.title = `evo: ${data.run.name}`;
    render(html`<${App} first=${data} />`, root, root.firstChild);
    return;
  }
  const token = new URLSearchParams(location.search).get('token') ?? '';
  const status = await fetch(`api/status?token=${token}`).then((found) => (found.ok ? found.json() : null)); // at once, however large the run is
  if (status) render(html`<header><p class="soft">evo · ${status.run}</p><h1>${status.best ? `n${status.best_place}: ${t.us(status.best.us)}` : 'No kernel has passed yet'}</h1><p>${t.count(status.finished)} evaluated; the run is being read …</p></header>`, root, root.firstChild);
  const answer = await fetch(`api/report?token=${token}`);
  if (!answer.ok) { root.textContent = `the server answered ${answer.status}`; return; }
  const data = prepare(await answer.json(), true);
  document.title = `evo: ${data.run.name} (live)`;
  render(html`<${App} first=${data} live=${follow(token)} />`, root);
}

begin();
