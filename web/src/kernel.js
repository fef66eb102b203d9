// One kernel in full: its numbers beside its parent's, its source and what changed in it.
import { h } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import htm from 'htm';
import { diffLines } from 'diff';
import { pieces } from './colour.js';
import * as t from './text.js';

const html = htm.bind(h);

const number = (value) => value == null ? '–' : Math.abs(value) >= 1e6 ? value.toExponential(3) : String(+value.toPrecision(6));

export function KernelPage({ kernel, parent }) {
  const metrics = kernel.metrics ?? [], before = new Map((parent?.metrics ?? []).map((m) => [`${m.name}/${m.problem}`, m.value]));
  return html`<p>${kernel.family}, ${kernel.operator}${kernel.parents?.length ? ` of ${kernel.parents.map((p) => `n${p}`).join(' and ')}` : ''}, ${kernel.numerics} accumulation: <strong>${kernel.verdict}</strong>${kernel.reason ? `: ${kernel.reason}` : ''}</p>
    <p class="genes">${t.genes(kernel.genes)}</p>
    ${parent && html`<p class="soft">changed in n${parent.place}: <span class="genes">${t.changes(parent.genes, kernel.genes).join(', ') || 'nothing'}</span></p>`}
    <div class="columns">
    <div class="scroll" tabindex="0" role="region" aria-label="Times"><table><caption>Times</caption><thead><tr><th scope="col">shape</th><th scope="col" class="right">time</th><th scope="col">95 % interval</th><th scope="col" class="right">in a graph</th></tr></thead>
      <tbody>${kernel.problems.map((p) => html`<tr><td><code>${p.problem}</code></td><td class="right">${t.us(p.score?.us)}</td><td>${t.interval(p.score)}</td><td class="right">${t.us(p.graph_us)}</td></tr>`)}</tbody></table></div>
    ${kernel.rivals?.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Rivals"><table id="rivals"><caption>Against libraries, in turns, by graphs of calls</caption><thead><tr><th scope="col">shape</th><th scope="col">rival</th><th scope="col" class="right">ours</th><th scope="col" class="right">theirs</th><th scope="col" class="right">ours is</th><th scope="col">95 % interval</th></tr></thead>
      <tbody>${kernel.rivals.map((r) => html`<tr title=${r.plan}><td><code>${r.problem}</code></td><td>${r.rival}</td>${r.graph ? html`<td class="right">${t.us(r.graph.us)}</td><td class="right">${t.us(r.graph.rival_us)}</td><td class="right">${r.hardest ? html`<strong>${t.ratio(r.graph.speedup)}</strong>` : t.ratio(r.graph.speedup)}</td><td>[${r.graph.low.toFixed(3)}, ${r.graph.high.toFixed(3)}]</td>` : html`<td colspan="4" class="soft">${r.reason}</td>`}</tr>`)}</tbody></table></div>`}
    <div class="scroll" tabindex="0" role="region" aria-label="Numbers"><table><caption>Numbers${parent ? `, beside n${parent.place}` : ''}</caption><thead><tr><th scope="col">metric</th><th scope="col" class="right">n${kernel.place}</th>${parent && html`<th scope="col" class="right">n${parent.place}</th>`}</tr></thead>
      <tbody><tr><td>registers</td><td class="right">${kernel.registers || '–'}</td>${parent && html`<td class="right">${parent.registers || '–'}</td>`}</tr>
      <tr><td>spilled bytes</td><td class="right">${kernel.spill_bytes}</td>${parent && html`<td class="right">${parent.spill_bytes}</td>`}</tr>
      ${metrics.map((m) => html`<tr><td title=${m.reason}>${m.name}</td><td class="right">${number(m.value)}</td>${parent && html`<td class="right">${number(before.get(`${m.name}/${m.problem}`))}</td>`}</tr>`)}</tbody></table></div></div>`;
}

export function SourceDiff({ kernel, parent }) {
  const [whole, setWhole] = useState(false);
  const parts = useMemo(() => (kernel.source && parent?.source && !whole ? diffLines(parent.source, kernel.source) : null), [kernel, parent, whole]);
  const coloured = useMemo(() => (kernel.source && !parts ? pieces(kernel.source) : []), [kernel, parts]);
  if (!kernel.source) return html`<p class="soft">The source is in the database: <code>evo show n${kernel.place} --source</code></p>`;
  return html`<h3>${parts ? `What its source changed in n${parent.place}` : 'Source'} ${parent?.source && html`<button class="plain noprint" type="button" onClick=${() => setWhole(!whole)}>${whole ? 'show the difference' : 'show all'}</button>`}</h3>
    ${parts ? html`<pre class="diff" tabindex="0">${parts.flatMap((part, i) => {
    if (part.added) return html`<ins>${prefixed(part.value, '+ ')}</ins>`;
    if (part.removed) return html`<del>${prefixed(part.value, '- ')}</del>`;
    const lines = part.value.replace(/\n$/, '').split('\n');
    const head = i > 0 ? lines.slice(0, 3) : [], tail = i < parts.length - 1 ? lines.slice(-3) : [];
    const shown = lines.length <= 8 ? lines : [...head, `… ${lines.length - head.length - tail.length} lines`, ...tail];
    return html`<span>${shown.map((l) => `  ${l}`).join('\n')}</span>`;
  })}</pre>` : html`<pre tabindex="0"><code>${coloured.map(([kind, text]) => (kind ? html`<span class=${`c-${kind}`}>${text}</span>` : text))}</code></pre>`}`;
}

const prefixed = (text, mark) => text.replace(/\n$/, '').split('\n').map((line) => mark + line).join('\n');
