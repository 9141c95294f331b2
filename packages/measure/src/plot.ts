type Point = [x: number, y: number]
export type Chart = {
  title: string
  xLabel: string
  /** Uses a logarithmic y axis. */
  isLog?: boolean
  series: { name: string; points: Point[] }[]
}
export type Bars = { title: string; groups: { name: string; bars: { name: string; value: number }[] }[] }

const [width, height] = [420, 300]
const plot = { left: 60, right: 340, top: 44, bottom: 252 }

const colours: Record<string, [light: string, dark: string]> = {
  pooled: ['#2563eb', '#60a5fa'],
  floor: ['#64748b', '#94a3b8'],
  held: ['#dc2626', '#f87171'],
  'ai-sdk': ['#7c3aed', '#a78bfa'],
  blocking: ['#b45309', '#fbbf24'],
  direct: ['#be185d', '#f472b6'],
  all: ['#2563eb', '#60a5fa'],
  busy: ['#dc2626', '#f87171'],
  fit: ['#94a3b8', '#64748b'],
  p50: ['#64748b', '#94a3b8'],
  p95: ['#7c3aed', '#a78bfa'],
}
const classes = (shade: 0 | 1) =>
  Object.entries(colours)
    .map(([name, pair]) => `.${name}{stroke:${pair[shade]};fill:${pair[shade]}}`)
    .join('')
const style = `<style>
text{font:12px system-ui,sans-serif;fill:#1e293b;stroke:none}.title{font-weight:600;font-size:14px}.quiet{fill:#64748b}
.grid{stroke:#e2e8f0}path.line{fill:none;stroke-width:2.5;stroke-linejoin:round}text.name{font-weight:600}${classes(0)}
@media(prefers-color-scheme:dark){text{fill:#e2e8f0}.quiet{fill:#94a3b8}.grid{stroke:#334155}${classes(1)}}
text[class]{stroke:none}</style>`

/** Returns charts side by side as a self-contained SVG that follows the reader's colour scheme. */
export function toSvg(charts: string[], label: string): string {
  const placed = charts.map((chart, index) => `<g transform="translate(${index * width} 0)">${chart}</g>`)
  const size = `viewBox="0 0 ${charts.length * width} ${height}" width="${charts.length * width}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${label}">${style}${placed.join('')}</svg>\n`
}

/** Draws a line chart. */
export function drawLines({ title, xLabel, isLog = false, series }: Chart): string {
  const points = series.flatMap((one) => one.points)
  const xMax = Math.max(1, ...points.map(([x]) => x))
  const yMax = Math.max(1, ...points.map(([, y]) => y))
  const xTicks = listTicks(xMax)
  const yTicks = isLog ? listPowers(yMax) : listTicks(yMax)
  const toX = (x: number) => round(plot.left + ((plot.right - plot.left) * x) / (xTicks.at(-1) ?? 1))
  const share = (y: number) =>
    isLog ? Math.log10(Math.max(1, y)) / Math.log10(yTicks.at(-1) ?? 10) : y / (yTicks.at(-1) ?? 1)
  const toY = (y: number) => round(plot.bottom - (plot.bottom - plot.top) * share(y))
  const labels = spread(series.map(({ points }) => toY(points.at(-1)?.[1] ?? 0)))
  return [
    `<text class="title" x="${plot.left}" y="20">${title}</text>`,
    ...yTicks.map((tick) => `<path class="grid" d="M${plot.left} ${toY(tick)}H${plot.right}"/>`),
    ...yTicks.map(
      (tick) =>
        `<text class="quiet" text-anchor="end" x="${plot.left - 6}" y="${toY(tick) + 4}">${formatNumber(tick)}</text>`,
    ),
    ...xTicks.map(
      (tick) =>
        `<text class="quiet" text-anchor="middle" x="${toX(tick)}" y="${plot.bottom + 18}">${formatNumber(tick)}</text>`,
    ),
    `<text class="quiet" text-anchor="middle" x="${(plot.left + plot.right) / 2}" y="${plot.bottom + 38}">${xLabel}</text>`,
    ...series.map(
      (one) => `<path class="line ${one.name}" d="M${one.points.map(([x, y]) => `${toX(x)} ${toY(y)}`).join('L')}"/>`,
    ),
    ...series.map(
      (one, index) =>
        `<text class="name ${one.name}" x="${toX(one.points.at(-1)?.[0] ?? 0) + 6}" y="${(labels[index] ?? 0) + 4}">${one.name}</text>`,
    ),
  ].join('')
}

/** Draws a bar chart. */
export function drawBars({ title, groups }: Bars): string {
  const largest = Math.max(1, ...groups.flatMap(({ bars }) => bars.map(({ value }) => value)))
  const [left, thickness] = [110, 20]
  let y = plot.top
  const drawn = groups.map(({ name, bars }) => {
    const heading = `<text class="quiet" x="${left}" y="${y + 12}">${name}</text>`
    y += thickness
    const lines = bars.map((bar) => {
      const length = round((240 * bar.value) / largest)
      const text = `<text text-anchor="end" class="name ${bar.name}" x="${left - 8}" y="${y + 13}">${bar.name}</text>`
      const value = `<text x="${left + length + 6}" y="${y + 13}">${bar.value.toFixed(0)}</text>`
      const rectangle = `<rect class="${bar.name}" x="${left}" y="${y}" width="${length}" height="${thickness - 5}" rx="2"/>`
      y += thickness
      return text + rectangle + value
    })
    y += thickness / 2
    return heading + lines.join('')
  })
  return `<text class="title" x="20" y="20">${title}</text>${drawn.join('')}`
}

/** Returns at most six round numbers, from 0 to the first one that is at least `max`. */
function listTicks(max: number): number[] {
  const power = 10 ** Math.floor(Math.log10(max / 5))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size * 5 >= max) ?? power
  return Array.from({ length: Math.ceil(max / step) + 1 }, (_, index) => index * step)
}

function listPowers(max: number): number[] {
  return Array.from({ length: Math.max(2, Math.ceil(Math.log10(max)) + 1) }, (_, index) => 10 ** index)
}

/** Moves overlapping labels apart. */
function spread(heights: number[]): number[] {
  const gap = 14
  const placed = [...heights]
  const order = heights.map((_, index) => index).sort((a, b) => (heights[b] ?? 0) - (heights[a] ?? 0))
  let lowest = Number.POSITIVE_INFINITY
  for (const index of order) {
    lowest = Math.min(heights[index] ?? 0, lowest - gap)
    placed[index] = lowest
  }
  return placed
}

function formatNumber(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: 1 })
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
