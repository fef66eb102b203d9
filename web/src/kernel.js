// One kernel in full: its numbers beside its parent's, its source and what changed in it.
import { h } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import htm from 'htm';
import { diffLines } from 'diff';
import { pieces } from './colour.js';
import { Table, number, words } from './parts.js';
import * as t from './text.js';

const html = htm.bind(h);

const figure = (value) => value == null ? '–' : Math.abs(value) >= 1e6 ? value.toExponential(3) : String(+value.toPrecision(6));

export function KernelPage({ kernel, parent }) {
  const before = new Map((parent?.metrics ?? []).map((m) => [`${m.name}/${m.problem}`, m.value])), many = kernel.problems.length > 1;
  const numbers = [{ name: 'registers', value: kernel.registers || null, was: parent?.registers || null }, { name: 'spilled bytes', value: kernel.spill_bytes, was: parent?.spill_bytes },
    ...(kernel.metrics ?? []).map((m) => ({ ...m, shape: many && kernel.problems[m.problem]?.problem, was: before.get(`${m.name}/${m.problem}`) }))];
  return html`<p>${kernel.family}, ${kernel.operator}${kernel.parents?.length ? ` of ${kernel.parents.map((p) => `n${p}`).join(' and ')}` : ''}, ${kernel.numerics} accumulation: <strong>${kernel.verdict}</strong>${kernel.reason ? `: ${kernel.reason}` : ''}</p>
    <p class="genes">${t.genes(kernel.genes)}</p>
    ${parent && html`<p class="soft">changed in n${parent.place}: <span class="genes">${t.changes(parent.genes, kernel.genes).join(', ') || 'nothing'}</span></p>`}
    ${(kernel.limits ?? []).map((l) => html`<p><code>${l.problem}</code>: ${l.limit}${l.modelled ? ' (modelled)' : ''}${l.roof ? html`<br />${l.roof}` : ''}<br /><span class="soft">used: ${Object.entries(l.used).filter(([, share]) => share != null).map(([name, share]) => `${name} ${(100 * share).toFixed(1)} %`).join(', ')}</span></p>`)}
    <div class="columns"><div>
    <${Table} caption="Times" rows=${kernel.problems} columns=${[words('shape', (p) => p.problem, (p) => html`<code>${p.problem}</code>`), number('time', (p) => p.score?.us, (p) => t.us(p.score?.us)),
    { title: '95 % interval', cell: (p) => t.interval(p.score) }, number('in a graph', (p) => p.graph_us, (p) => t.us(p.graph_us))]} />
    ${kernel.rivals?.length > 0 && html`<${Table} caption="Against libraries, in turns, by graphs of calls" rows=${kernel.rivals} columns=${[words('shape', (r) => r.problem, (r) => html`<code>${r.problem}</code>`), words('rival', (r) => r.rival, (r) => html`<span title=${r.plan}>${r.rival}</span>`),
    number('ours', (r) => r.graph?.us, (r) => t.us(r.graph?.us)), number('theirs', (r) => r.graph?.rival_us, (r) => t.us(r.graph?.rival_us)), number('ours is', (r) => r.graph?.speedup, (r) => (r.hardest ? html`<strong>${t.ratio(r.graph?.speedup)}</strong>` : t.ratio(r.graph?.speedup))),
    { title: '95 % interval', cell: (r) => (r.graph ? `[${r.graph.low.toFixed(3)}, ${r.graph.high.toFixed(3)}]` : r.reason) }]} />`}</div>
    <${Table} caption=${`Numbers${parent ? `, beside n${parent.place}` : ''}`} rows=${numbers} columns=${[words('metric', (m) => m.name, (m) => html`<span title=${m.reason || m.doc}>${m.name} <small class="soft">${m.unit === '1' ? '' : m.unit}</small>${m.shape ? html` <code>${m.shape}</code>` : ''}</span>`), number(`n${kernel.place}`, (m) => m.value, (m) => figure(m.value)),
    ...(parent ? [number(`n${parent.place}`, (m) => m.was, (m) => figure(m.was))] : [])]} /></div>`;
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
