import { cutFull, fitLine, type Line, type Point } from './fit.ts'
import { isReached, type Measured, type Sample } from './measure.ts'

/** `code` is the exit code: 0 independent of streams, 1 depends on them, 2 could not tell. */
export type Verdict = { code: 0 | 1 | 2; text: string; lines: Record<'all' | 'busy' | 'idle', Line | undefined> }

const limit = 0.1 // connections per stream: below, a pool of 10 serves more than 100 streams
const grown = 9.5 // streams from which on an ordinary pool no longer grows, because ten start at once and later fewer
const shortMs = 1000 // an answer that ends before it can be sampled several times

/** Returns the verdict, with a sentence on why. */
export function judge(measured: Measured): Verdict {
  const { most } = measured
  const toPoints = (name: keyof Sample) => measured.levels.map(({ mean }): Point => [mean('open'), mean(name)])
  const lines = {
    all: fitLine(toPoints('backends').filter(([streams]) => streams >= grown)),
    busy: fitLine(toPoints('busy')),
    idle: fitLine(cutFull(toPoints('idleInTransaction'))),
  }
  const fitted = Object.values(lines)
  const end = (code: Verdict['code'], text: string): Verdict => ({ code, text, lines })
  if (most.hidden > 0)
    return end(2, 'Could not tell: this database user may not see the connections. Grant it pg_monitor.')
  if (most.backends === 0)
    return end(2, 'Could not tell: nothing ever connected to this database. Does the server use another one?')

  const held = fitted.filter((line) => line && line.low >= limit)
  const steepest = (held.length > 0 ? held : fitted).reduce((a, b) => (b && !(a && a.slope >= b.slope) ? b : a))
  const outcome = `${describe(steepest)}.${explain(measured)}`
  if (held.length > 0) return end(1, `Depends on streams: ${outcome}`)
  if (fitted.every((line) => line && line.high < limit))
    return end(0, `Independent of up to ${Math.round(countOpen(measured))} streams: ${outcome}`)
  return end(2, `Could not tell: ${findDoubt(measured)}${explain(measured)}`)
}

const countOpen = ({ levels }: Measured) => Math.max(0, ...levels.map(({ mean }) => mean('open')))

function findDoubt(measured: Measured): string {
  const { levels, lifetimeMs = shortMs } = measured
  const last = levels.at(-1)
  const open = countOpen(measured)
  if (last && !isReached(last.asked, last.mean('open')) && lifetimeMs < shortMs)
    return `answers end after ${Math.round(lifetimeMs)} ms, or come in one piece. Ask for longer ones.`
  if (open < grown) return `only ${Math.round(open)} streams were open at a time, and it takes 10.`
  return 'there were too few numbers of streams, or connections varied. Use a larger pool, more --levels or a longer --hold.'
}

/** Returns why there were not more streams. Empty if all were open. */
function explain({ levels, failures }: Measured): string {
  const failed = Object.entries(failures).map(([kind, count]) => `${count} × ${kind}`)
  const refused = failed.length > 0 ? ` Failed streams: ${failed.join(', ')}.` : ''
  const last = levels.at(-1)
  if (!last || isReached(last.asked, last.mean('open'))) return refused
  const [open, queued] = [Math.round(last.mean('open')), Math.round(last.mean('queued'))]
  return ` Of ${last.asked} streams ${open} were open and ${queued} waited for a first byte.${refused}`
}

/** Returns a slope and its interval as text. */
export function describe(line: Line | undefined): string {
  if (!line) return 'not enough points'
  const [slope, low, high] = [line.slope, line.low, line.high].map((value) =>
    (Math.round(value * 100) / 100 + 0).toFixed(2),
  )
  return `${slope} connections per stream (95 % interval ${low} to ${high})`
}
