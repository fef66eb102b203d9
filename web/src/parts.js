// What the sections share: tables that sort, regions that scroll, entries of a legend.
import { h } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import htm from 'htm';

const html = htm.bind(h);

export const Scroll = ({ label, children }) => html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>${children}</div>`;
export const Hue = ({ of, children }) => html`<li><i style=${{ background: `var(--${of})` }}></i>${children}</li>`;

// Columns of a table; what has a value sorts by it, and shows it where there is no cell.
export const words = (title, value, cell = value) => ({ title, value, cell });
export const number = (title, value, cell = value) => ({ title, value, cell, right: true });

export function Table({ caption, columns, rows, rowProps, start }) {
  const [order, setOrder] = useState(start ?? null);
  const sorted = useMemo(() => {
    const by = columns.find((c) => c.title === order?.by);
    if (!by?.value) return rows;
    return [...rows].sort((a, b) => {
      const x = by.value(a), y = by.value(b);
      const less = typeof x === 'number' || typeof y === 'number' ? (x ?? Infinity) - (y ?? Infinity) : String(x).localeCompare(String(y));
      return order.down ? -less : less;
    });
  }, [rows, order]);
  const flip = (title) => setOrder({ by: title, down: order?.by === title && !order.down });
  return html`<${Scroll} label=${caption}><table>
    <caption>${caption}</caption>
    <thead><tr>${columns.map((c) => html`<th scope="col" class=${c.right ? 'right' : ''}
      aria-sort=${order?.by === c.title ? (order.down ? 'descending' : 'ascending') : undefined}>
      ${c.value ? html`<button type="button" onClick=${() => flip(c.title)}>${c.title}${order?.by === c.title ? (order.down ? ' ↓' : ' ↑') : ''}</button>` : c.title}</th>`)}</tr></thead>
    <tbody>${sorted.map((row) => html`<tr ...${rowProps?.(row) ?? {}}>${columns.map((c) => html`<td class=${c.right ? 'right' : ''}>${c.cell(row)}</td>`)}</tr>`)}</tbody>
  </table><//>`;
}
