export type Point = [streams: number, connections: number]

/** A fitted line, and the 95 % interval of its slope. */
export type Line = { slope: number; low: number; high: number; start: number }

/** The 97.5 % quantiles of Student's t distribution, for 1, 2, … degrees of freedom. */
const quantiles = [12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23]

/** Fits a line by least squares. Undefined with fewer than three points, or if all have the same number of streams. */
export function fitLine(points: Point[]): Line | undefined {
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  const sum = (read: (x: number, y: number) => number) => points.reduce((total, [x, y]) => total + read(x, y), 0)
  const freedom = points.length - 2
  const [middle, height] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))]
  const spread = sum((x) => (x - middle) ** 2)
  if (freedom < 1 || spread === 0) return undefined
  const slope = sum((x, y) => (x - middle) * (y - height)) / spread
  const start = height - slope * middle
  const error = Math.sqrt(sum((x, y) => (y - start - slope * x) ** 2) / freedom / spread)
  const margin = error * (quantiles[freedom - 1] ?? 2.2)
  return { slope, low: slope - margin, high: slope + margin, start }
}

/** Leaves out the points after a pool is full: streams still grow there, but connections cannot. */
export function cutFull(points: Point[]): Point[] {
  const base = points[0]?.[1] ?? 0
  const ceiling = Math.max(...points.map(([, y]) => y - base))
  const isHigh = ([, y]: Point) => y - base >= 0.9 * ceiling
  const full = points.findIndex(isHigh)
  const isFull = points.slice(full).every(isHigh) && (points.at(-1)?.[0] ?? 0) >= 1.5 * (points[full]?.[0] ?? 0)
  // Half a connection is the noise of short transactions.
  return isFull && ceiling > 0.5 ? points.slice(0, full + 1) : points
}
