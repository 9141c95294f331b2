import { cutFull, fitLine, type Line, type Point } from './fit.ts'
import { isReached, type Measured, type Sample } from './measure.ts'

/** `code` is the exit code: 0 independent of streams, 1 depends on them, 2 could not tell. */
export type Verdict = { code: 0 | 1 | 2; text: string; lines: Record<'all' | 'busy' | 'idle', Line | undefined> }

// Connections per stream. Idle connections may be those of a pool that still grows, so their limits are far apart.
const [inUse, oneEach, fewOpen] = [0.1, 0.8, 0.2]
const leastStreams = 19.5 // fewer say too little about hundreds
const shortMs = 1000 // an answer that ends before it can be sampled several times

/** Returns the verdict, with a sentence on why. */
export function judge(measured: Measured): Verdict {
  const { most } = measured
  const toPoints = (name: keyof Sample) => measured.levels.map(({ mean }): Point => [mean('open'), mean(name)])
  const all = fitLine(toPoints('backends'))
  const busy = fitLine(toPoints('busy'))
  const idle = fitLine(cutFull(toPoints('idleInTransaction')))
  const end = (code: Verdict['code'], text: string): Verdict => ({ code, text, lines: { all, busy, idle } })
  if (most.hidden > 0)
    return end(2, 'Could not tell: this database user may not see the connections. Grant it pg_monitor.')
  if (most.backends === 0)
    return end(2, 'Could not tell: nothing ever connected to this database. Does the server use another one?')

  const held = [idle, busy].find((line) => line && line.low >= inUse) ?? (all && all.low >= oneEach ? all : undefined)
  if (held) return end(1, `Depends on streams: ${describe(held)}.${explain(measured)}`)
  const [open, steepest] = [countOpen(measured), [idle, busy].sort((a, b) => (b?.high ?? 0) - (a?.high ?? 0))[0]]
  const hasFew = (all && all.high < fewOpen) || most.backends < fewOpen * open
  if (open < leastStreams || !hasFew || [idle, busy].some((line) => !line || line.high >= inUse))
    return end(2, `Could not tell: ${findDoubt(measured)}${explain(measured)}`)
  const shared = `${describe(steepest)}, ${most.backends} connections in all`
  return end(0, `Independent of up to ${Math.round(open)} streams: ${shared}.${explain(measured)}`)
}

const countOpen = ({ levels }: Measured) => Math.max(0, ...levels.map(({ mean }) => mean('open')))

function findDoubt(measured: Measured): string {
  const { levels, lifetimeMs = shortMs } = measured
  const last = levels.at(-1)
  const open = countOpen(measured)
  if (last && !isReached(last.asked, last.mean('open')) && lifetimeMs < shortMs)
    return `answers end after ${Math.round(lifetimeMs)} ms, or come in one piece. Ask for longer ones.`
  if (open < leastStreams) return `only ${Math.round(open)} streams were open at a time, and it takes 20.`
  return 'the connections vary. Stop other traffic, or use more --levels, a longer --hold or a smaller pool.'
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
  const format = (value: number) => (Math.round(value * 100) / 100 + 0).toFixed(2) // without -0.00
  return `${format(line.slope)} connections per stream (95 % interval ${format(line.low)} to ${format(line.high)})`
}
