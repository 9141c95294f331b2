import { globSync } from 'node:fs'
import { join } from 'node:path'
import { parseCLI, startVitest, type Vitest } from 'vitest/node'
import { onStopRequest } from './processes.ts'
import { removeLeftover, startStack } from './stack.ts'

// npm test [-- [--full] [what Vitest takes]]: Vitest against a throw-away stack of its own.

const root = join(import.meta.dirname, '../..')
const directory = join(root, `.data/test-${process.pid}`)

async function main(args: string[]): Promise<number> {
  const stopping = new AbortController()
  onStopRequest(() => stopping.abort())
  await Promise.all(globSync(join(root, '.data/test-*')).map(removeLeftover))
  const stack = await startStack({ directory, throwAway: true, report: console.log, signal: stopping.signal })
  stopping.signal.addEventListener('abort', () => void stack.stop().then(() => process.exit(130)))
  process.env.DATABASE_URL = stack.databaseUrl
  process.env.DIRECT_DATABASE_URL = stack.directDatabaseUrl
  process.env.PGBOUNCER_ADMIN_URL = stack.pgbouncerAdminUrl
  if (args.includes('--full')) process.env.SLUICE_FULL = '1'
  try {
    const { filter, options } = parseCLI(['vitest', ...args.filter((arg) => arg !== '--full')])
    const vitest = await startVitest(filter, { ...options, root, watch: false })
    await vitest.close()
    return printOutcome(vitest)
  } finally {
    await stack.stop()
  }
}

/** The reasons of skipped tests and, last, the counts. A file that could not run and an error outside of tests are failures. */
function printOutcome(vitest: Vitest): number {
  const modules = vitest.state.getTestModules()
  const count = (state: 'passed' | 'failed') => modules.flatMap((module) => [...module.children.allTests(state)]).length
  const broken = modules.filter((module) => !module.ok() && module.children.allTests('failed').next().done)
  const skipped = modules.flatMap((module) => [...module.children.allTests('skipped')])
  for (const test of skipped) {
    const result = test.result()
    const reason = (result.state === 'skipped' && result.note) || 'no reason given'
    console.log(`skipped: ${test.module.relativeModuleId} > ${test.fullName}: ${reason}`)
  }
  const failed = count('failed') + broken.length + vitest.state.getUnhandledErrors().length
  console.log(`${count('passed')} passed, ${failed} failed, ${skipped.length} skipped`)
  return failed === 0 && count('passed') > 0 ? 0 : 1
}

main(process.argv.slice(2)).then(process.exit, (error) => {
  console.error(error.message)
  process.exit(1)
})
