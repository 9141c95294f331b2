import { describe, expect, it } from 'vitest'
import { cutFull, fitLine, type Point } from './fit.ts'
import { judge } from './judge.ts'
import type { Level, Measured, Sample } from './measure.ts'

const streams = [0, 1, 2, 5, 10, 20, 50, 100, 200]
const cheap = { failed: 0 }

/** Levels whose samples are a function of the open streams. */
function measured(read: (open: number) => Partial<Sample>, more: Partial<Measured> = {}): Measured {
  const levels = streams.map((asked): Level => {
    const sample = { open: asked, queued: 0, backends: 10, busy: 0, idleInTransaction: 0, hidden: 0 }
    const all: Sample = { ...sample, clients: 0, waiting: 0, ...read(asked) }
    return { asked, cheap, mean: (name) => all[name] }
  })
  const backends = Math.max(...levels.map(({ mean }) => mean('backends')))
  return { levels, most: { backends, hidden: 0 }, failures: {}, lifetimeMs: undefined, ...more }
}

describe('the verdict', () => {
  it.each<[name: string, code: number, text: RegExp, input: Measured]>([
    ['nothing in use', 0, /^Independent of up to 200 streams: 0\.00 .*, 10 connections in all/, measured(() => ({}))],
    ['a pool that grows to 20', 0, /^Indep/, measured((open) => ({ backends: Math.min(open, 20) }))],
    ['short queries, more with more streams', 0, /: 0\.05 /, measured((open) => ({ busy: 0.05 * open }))],
    [
      'a transaction per stream',
      1,
      /^Depends on streams: 1\.00 /,
      measured((open) => ({ backends: open, busy: open, idleInTransaction: open })),
    ],
    [
      'a transaction per stream until the pool of 5 is full',
      1,
      /^Depends on streams: 1\.00 /,
      measured((open) => ({ busy: Math.min(open, 5), idleInTransaction: Math.min(open, 5) })),
    ],
    ['an idle connection per stream', 1, /: 1\.00 /, measured((open) => ({ backends: 3 + open }))],
    [
      'an idle connection per stream, and a limit of 10',
      1,
      /: 1\.00 .* Of 200 streams 10 were open and 10 waited/,
      measured((open) => ({ open: Math.min(open, 10), backends: Math.min(open, 10), queued: 10 })),
    ],
    [
      'a large pool that grows',
      2,
      /^Could not tell: the connections vary/,
      measured((open) => ({ backends: open / 2 })),
    ],
    ['few streams', 2, /only 10 streams were open/, measured((open) => ({ open: Math.min(open, 10), backends: 1 }))],
    ['short answers', 2, /answers end after 20 ms/, measured(() => ({ open: 0.5 }), { lifetimeMs: 20 })],
    ['no rights', 2, /may not see/, measured(() => ({}), { most: { backends: 9, hidden: 9 } })],
    ['another database', 2, /nothing ever connected/, measured(() => ({ backends: 0 }))],
  ])('on %s', (_, code, text, input) => {
    const verdict = judge(input)
    expect(verdict.text).toMatch(text)
    expect(verdict.code).toBe(code)
  })
})

describe('the fit', () => {
  it('is the least squares line, with the 95 % interval of its slope', () => {
    // By hand: the squares of the residuals sum up to 2.7, so the error is sqrt(2.7 / 2 / 5), times 4.3.
    const points: Point[] = [
      [0, 1],
      [1, 3],
      [2, 2],
      [3, 5],
    ]
    const { slope = 0, start, low, high } = fitLine(points) ?? {}
    expect([slope, start]).toEqual([expect.closeTo(1.1), expect.closeTo(1.1)])
    expect([low, high]).toEqual([expect.closeTo(-1.13), expect.closeTo(3.33)])
  })

  it('needs three points with different numbers of streams', () => {
    expect([
      fitLine([[0, 1]]),
      fitLine([
        [1, 1],
        [1, 2],
        [1, 3],
      ]),
    ]).toEqual([undefined, undefined])
  })

  it('leaves out what comes after a full pool, and nothing if the connections only vary', () => {
    const full: Point[] = [
      [0, 1],
      [5, 6],
      [10, 6],
      [20, 6],
    ]
    const flat: Point[] = [
      [0, 0],
      [5, 0.3],
      [10, 0.1],
      [20, 0.2],
    ]
    expect([cutFull(full), cutFull(flat)]).toEqual([full.slice(0, 2), flat])
  })
})
