import { describe, expect, it } from 'vitest'
import { createTally } from '../load/tally.ts'
import type { Values } from '../metrics.ts'
import type { Outcome, Row } from '../outcome.ts'
import type { Scenario } from '../scenarios.ts'
import { createReport } from './report.ts'
import { formatOutcome } from './text.ts'

const load = { tokens: 10, intervalMs: 20, clients: 5, rampMs: 0, seconds: 1 }
const goals: Scenario['goals'] = [
  { metric: 'failed', atMost: 0 },
  { metric: 'cpuPerToken', over: 'floor', atMost: 1.25 },
  { metric: 'cpuPerToken', over: 'ai-sdk', atMost: 0.45 },
  { metric: 'clients', atLeast: 1000 },
  { metric: 'eventLoopP99', atMost: 50 },
]
const scenario: Scenario = { name: 'tokens', title: 'What?', variants: ['floor', 'pooled'], load, goals }

function toRow(variant: Row['variant'], values: Values, failures = {}): Row {
  const result = { ...createTally().summarize(), failures }
  return { variant, values, runs: [{ values, result, samples: [] }] }
}

const outcome: Outcome = {
  scenario,
  rows: [
    toRow('floor', { failed: 0, cpuPerToken: 50 }),
    toRow('pooled', { failed: 2, cpuPerToken: 60, clients: 1200 }, { '<b>': 2 }),
  ],
}

describe('a table', () => {
  const text = formatOutcome(outcome)

  it('has a line per metric, a column per variant, and ratios for CPU costs', () => {
    expect(text).toMatch(/^ {18,}floor +pooled +pooled\/floor$/m)
    expect(text).toMatch(/^ {2}CPU per token µs +50 +60 +1\.20x$/m)
    expect(text).toMatch(/^ {2}pooler clients +- +1200$/m)
  })

  it('shows which goals were reached, missed or not measured', () => {
    expect(text).toContain('missed  failed: 2, goal: at most 0')
    expect(text).toContain('reached CPU per token µs relative to floor: 1.20x, goal: at most 1.25x')
    expect(text).toContain('reached pooler clients: 1200, goal: at least 1000')
    expect(text).toContain('?       event loop p99 ms: not measured, goal: at most 50')
  })

  it('omits a goal relative to a variant that did not run', () => expect(text).not.toContain('relative to ai-sdk'))
  it('lists failures', () => expect(text).toContain('failed  pooled: 2 × <b>'))
})

describe('a report', () => {
  it('is a self-contained page with numbers and pictures', () => {
    const { 'report.html': page = '' } = createReport([outcome])
    expect(page).toContain('<td>1.20x</td>')
    expect(page).toContain('pooled: 2 × &lt;b>')
    expect(page).toContain('CPU of the server, µs per token')
    expect(page).not.toMatch(/<script|<link|<img|src=/)
  })

  it('has no picture of scenarios that did not run', () =>
    expect(createReport([outcome])).not.toHaveProperty('connections.svg'))
})
