import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { toMachineTime } from '@repo/testing/mock-model/machine-clock'
import { z } from 'zod'
import { chooseScenarios } from './choose-scenarios.ts'
import { createDatabases } from './corpus/databases.ts'
import { openDatabase, type Stack, startTarget, type Target } from './harness.ts'
import { describeAnswer } from './load/plan.ts'
import { startLoad } from './load/start-load.ts'
import { mergeValues } from './metrics.ts'
import type { Options } from './options.ts'
import { nameRow, type Outcome, type Row } from './outcome.ts'
import { createReport } from './report/report.ts'
import { formatOutcome } from './report/text.ts'
import { runOnce } from './run-once.ts'
import { defaultChunks, type Scenario, type Variant } from './scenarios.ts'
import { listHotFunctions, readProfile, startProfile } from './watch/profile.ts'
import { measureTurns } from './watch/stalls.ts'

/** Starts or returns the server of a variant. `chunks` is the size of the corpus, if the scenario compares sizes. */
type Open = (scenario: Scenario, variant: Variant, chunks: number | undefined) => Promise<Target>

/** Runs the chosen scenarios on a temporary stack. `signal` stops it at any time. */
export async function runBench(options: Options, stack: Stack, signal: AbortSignal): Promise<void> {
  const openCorpus = createDatabases(stack, console.error, signal)
  await runAll(options, signal, async (scenario, variant, chunks = options.chunks ?? defaultChunks) => {
    const filled = { ...stack, ...(await openCorpus(chunks)) }
    if (scenario.subject === 'connections') return openDatabase(filled, variant)
    const isProfiled = options.profile && variant === 'pooled'
    const isModelSet = scenario.subject === undefined && !scenario.sendsLargest
    const chatModel = isModelSet ? `mock?${describeAnswer(scenario.load).join('&')}` : 'mock'
    const nodeOptions = [
      ...(isProfiled ? startProfile(stack.folder) : []),
      ...(scenario.sendsLargest ? measureTurns : []),
    ]
    const started = await startTarget(filled, variant, { CHAT_MODEL: chatModel, ...scenario.env }, nodeOptions)
    const target = { ...started, isModelSet }
    if (!isProfiled) return target
    const startedAt = toMachineTime()
    const stop = async () => {
      const lateness = await target.stop()
      console.log(listHotFunctions(readProfile(stack.folder), startedAt).join('\n'))
      return lateness
    }
    return { ...target, stop }
  })
}

/** Runs the scenarios on a running stack, whose model must be the mock. Deletes their conversations afterwards. */
export async function runBenchLive(options: Options, live: Target, signal: AbortSignal): Promise<void> {
  await requireMock(live.url, signal)
  try {
    await runAll(options, signal, async () => live)
  } finally {
    await removeConversations(live.url)
  }
}

const Conversations = z.object({ items: z.array(z.object({ id: z.string(), title: z.string() })) })

/** Deletes the conversations with the mock, which no user of the page has started. */
async function removeConversations(url: string): Promise<void> {
  const response = await fetch(`${url}/conversations?limit=100`)
  const { items } = Conversations.parse(await response.json())
  const asked = items.filter(({ title }) => /\[mock |^@\d+ /.test(title)) // the mock may have written the title
  await Promise.all(asked.map(({ id }) => fetch(`${url}/conversations/${id}`, { method: 'DELETE' })))
  if (asked.length > 0) await removeConversations(url)
}

/** Runs scenarios, prints a table of each, and writes the report. */
async function runAll(options: Options, signal: AbortSignal, open: Open): Promise<void> {
  const outcomes: Outcome[] = []
  for (const scenario of chooseScenarios(options)) {
    const outcome = await runScenario(scenario, options.repeat, signal, open)
    outcomes.push(outcome)
    console.log(formatOutcome(outcome))
  }
  mkdirSync(options.out, { recursive: true })
  for (const [name, text] of Object.entries(createReport(outcomes))) {
    writeFileSync(join(options.out, name), text)
    console.log(`Wrote ${join(options.out, name)}`)
  }
  if (options.json) writeFileSync(options.json, `${JSON.stringify(outcomes, undefined, 1)}\n`)
}

/** Runs variants in turn, so that a slowdown of the machine affects all of them. */
async function runScenario(scenario: Scenario, repeat: number, signal: AbortSignal, open: Open): Promise<Outcome> {
  const sizes = scenario.sizes?.map((chunks) => ({ chunks })) ?? [{}]
  const rows = scenario.variants.flatMap((variant) =>
    sizes.map((size): Omit<Row, 'values'> => ({ variant, ...size, runs: [] })),
  )
  for (let turn = 1; turn <= repeat; turn += 1) {
    for (const { runs, ...row } of rows) {
      console.error(`${scenario.name}: ${nameRow(row)}${repeat > 1 ? `, ${turn} of ${repeat}` : ''}`)
      const target = await open(scenario, row.variant, row.chunks)
      const run = await runOnce(scenario, target, signal)
      const mockLateP99 = (await target.stop())?.p99
      runs.push({ ...run, values: { ...run.values, mockLateP99 } })
    }
  }
  return { scenario, rows: rows.map((row) => ({ ...row, values: mergeValues(row.runs.map(({ values }) => values)) })) }
}

/** Throws if a server does not use the mock model. */
async function requireMock(url: string, signal: AbortSignal): Promise<void> {
  const load = { url, tokens: 3, intervalMs: 0, clients: 1, rampMs: 0, seconds: 0 }
  const { completed } = await startLoad(load, signal).result
  if (completed > 0) return
  throw new Error(
    `The model of ${url} is not the mock. Run \`npm run mock -w @repo/testing\`, which prints the command to start both.`,
  )
}
