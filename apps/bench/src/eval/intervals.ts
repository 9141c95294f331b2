import type { Measures } from './measures.ts'

const [left, right, top, row] = [70, 380, 44, 34]

const style = `<style>
text{font:12px system-ui,sans-serif;fill:#1e293b}.title{font-weight:600;font-size:14px}.quiet{fill:#64748b}
.grid{stroke:#e2e8f0}.interval{stroke:#2563eb;stroke-width:3}.value{fill:#2563eb}
@media(prefers-color-scheme:dark){text{fill:#e2e8f0}.quiet{fill:#94a3b8}.grid{stroke:#334155}.interval{stroke:#60a5fa}
.value{fill:#60a5fa}}</style>`

/** Draws nDCG@10 of each ranking with its 95 % interval, as a self-contained SVG. */
export function drawIntervals(results: Record<string, Measures>): string {
  const toX = (share: number) => Math.round(left + (right - left) * share)
  const bottom = top + Object.keys(results).length * row
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1].map(
    (tick) =>
      `<path class="grid" d="M${toX(tick)} ${top}V${bottom}"/><text class="quiet" text-anchor="middle" x="${toX(tick)}" y="${bottom + 16}">${tick}</text>`,
  )
  const rows = Object.entries(results).map(([name, { 'ndcg@10': ndcg }], index) => {
    const y = top + index * row + row / 2
    return [
      `<text text-anchor="end" x="${left - 10}" y="${y + 4}">${name}</text>`,
      `<path class="interval" d="M${toX(ndcg.low)} ${y}H${toX(ndcg.high)}"/>`,
      `<circle class="value" cx="${toX(ndcg.value)}" cy="${y}" r="6"/>`,
      `<text text-anchor="middle" x="${toX(ndcg.value)}" y="${y - 10}">${ndcg.value.toFixed(3)}</text>`,
    ].join('')
  })
  const size = `viewBox="0 0 420 ${bottom + 30}" width="420"`
  const title = `<text class="title" x="20" y="20">nDCG@10, with 95 % intervals</text>`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="nDCG@10">${style}${title}${[...ticks, ...rows].join('')}</svg>\n`
}
