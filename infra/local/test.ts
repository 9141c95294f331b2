import { once } from 'node:events'
import { join } from 'node:path'
import { createVitest, parseCLI, type TestModule, type Vitest } from 'vitest/node'
import { buildPrograms } from './build.ts'
import { onStopRequest } from './processes.ts'
import { removeLeftovers, startStack } from './stack.ts'

// npm test [-- [--full] [Vitest arguments]]: runs Vitest with its own temporary stack. Without arguments it runs the
// fast tests only.

const root = join(import.meta.dirname, '../..')
const directory = join(root, `.data/test-${process.pid}`)
const stopping = new AbortController()

async function main(args: string[]): Promise<number> {
  const { filter, options } = parseCLI(['vitest', ...args.filter((arg) => arg !== '--full')])
  const isFast = args.length === 0
  const vitest = await createVitest({ ...options, ...(isFast && { project: 'fast' }), root, watch: false })
  // Vitest's own listeners exit immediately, before the servers have stopped.
  for (const signal of ['SIGINT', 'SIGTERM']) process.removeAllListeners(signal)
  onStopRequest(() => stopping.abort())

  const building = buildPrograms().then(
    () => undefined,
    (error: Error) => error,
  )
  await removeLeftovers(join(root, '.data'))
  const stack = await startStack({ directory, throwAway: true, report: console.log, signal: stopping.signal })
  process.env.DATABASE_URL = stack.databaseUrl
  process.env.DIRECT_DATABASE_URL = stack.directDatabaseUrl
  process.env.PGBOUNCER_ADMIN_URL = stack.pgbouncerAdminUrl
  process.env.STACK_LOGS = directory
  if (args.includes('--full')) process.env.SLUICE_FULL = '1'
  try {
    const error = await building
    if (error) throw error
    await Promise.race([vitest.start(filter).catch(console.error), once(stopping.signal, 'abort')])
    if (stopping.signal.aborted) return 130
    await vitest.close()
    if (isFast) console.log('skipped: tests that start processes, make load or take minutes: npm test -- --full')
    return printOutcome(vitest)
  } finally {
    await stack.stop()
  }
}

/** Prints durations, measurements, the reasons of skipped tests and, last, failures and counts. Returns the exit code. */
function printOutcome(vitest: Vitest): number {
  const modules = vitest.state.getTestModules()
  printDurations(modules)
  const unhandled = vitest.state.getUnhandledErrors() as { message?: string; stack?: string }[]
  const count = (state: 'passed' | 'failed') => modules.flatMap((module) => [...module.children.allTests(state)]).length
  const broken = modules.filter((module) => !module.ok() && module.children.allTests('failed').next().done)
  const skipped = modules.flatMap((module) => [...module.children.allTests('skipped')])
  for (const test of modules.flatMap((module) => [...module.children.allTests()])) {
    for (const { message } of test.annotations()) console.log(`measured: ${test.module.relativeModuleId}: ${message}`)
  }
  for (const test of skipped) {
    const result = test.result()
    const reason = (result.state === 'skipped' && result.note) || 'no reason given'
    console.log(`skipped: ${test.module.relativeModuleId} > ${test.fullName}: ${reason}`)
  }
  // A file that cannot be run and an error outside of tests are failures.
  const failed = count('failed') + broken.length + unhandled.length
  for (const test of modules.flatMap((module) => [...module.children.allTests('failed')])) {
    console.log(`failed: ${test.module.relativeModuleId} > ${test.fullName}: ${firstError(test.result().errors)}`)
  }
  for (const module of broken) console.log(`failed: ${module.relativeModuleId}: ${firstError(module.errors())}`)
  for (const error of unhandled) console.log(`failed outside of tests: ${error.stack ?? error.message}`)
  console.log(`${count('passed')} passed, ${failed} failed, ${skipped.length} skipped`)
  return failed === 0 && count('passed') > 0 ? 0 : 1
}

const firstError = (errors: readonly { message?: string }[] = []) => errors[0]?.message?.slice(0, 500) ?? 'no message'

/** Prints how long each file took, with its imports and hooks, and the ten slowest tests. */
function printDurations(modules: TestModule[]): void {
  const bySeconds = (left: { ms: number }, right: { ms: number }) => right.ms - left.ms
  const print = (label: string, { ms, name }: { ms: number; name: string }) =>
    console.log(`${label}: ${(ms / 1000).toFixed(1).padStart(6)} s  ${name}`)
  const files = modules.map((module) => {
    const { setupDuration, prepareDuration, collectDuration, duration } = module.diagnostic()
    return { ms: setupDuration + prepareDuration + collectDuration + duration, name: module.relativeModuleId }
  })
  const tests = modules.flatMap((module) =>
    [...module.children.allTests()].map((test) => ({
      ms: test.diagnostic()?.duration ?? 0,
      name: `${module.relativeModuleId} > ${test.fullName}`,
    })),
  )
  for (const file of files.toSorted(bySeconds)) print('file', file)
  for (const test of tests.toSorted(bySeconds).slice(0, 10)) print('slowest test', test)
}

main(process.argv.slice(2)).then(process.exit, (error) => {
  if (!stopping.signal.aborted) console.error(error.message)
  process.exit(stopping.signal.aborted ? 130 : 1)
})
