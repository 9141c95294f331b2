import { globSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import { parseCLI, startVitest, type Vitest } from 'vitest/node'
import { onStopRequest } from './processes.ts'
import { removeLeftover, startStack } from './stack.ts'

// npm test [-- [--full] [what Vitest takes]]: Vitest against a throw-away stack of its own.

const root = join(import.meta.dirname, '../..')
const print = (line: string) => void process.stdout.write(`${line}\n`)

async function main(args: string[]): Promise<number> {
  const shutdown = new AbortController()
  onStopRequest(() => shutdown.abort())
  await Promise.all(globSync(join(root, '.data/test-*')).map(removeLeftover))
  const directory = join(root, `.data/test-${process.pid}`)
  const stack = await startStack({ directory, throwAway: true, report: print, signal: shutdown.signal })
  shutdown.signal.addEventListener('abort', async () => {
    await stack.stop()
    process.exit(130)
  })
  try {
    const { databaseUrl, directDatabaseUrl, pgbouncerAdminUrl } = stack
    Object.assign(env, {
      DATABASE_URL: databaseUrl,
      DIRECT_DATABASE_URL: directDatabaseUrl,
      PGBOUNCER_ADMIN_URL: pgbouncerAdminUrl,
    })
    if (args.includes('--full')) env.SLUICE_FULL = '1'
    const { filter, options } = parseCLI(['vitest', ...args.filter((arg) => arg !== '--full')])
    const vitest = await startVitest(filter, { ...options, root, watch: false })
    await vitest.close()
    return printOutcome(vitest)
  } finally {
    await stack.stop()
  }
}

/** The reasons of skipped tests and, last, the counts; a file that could not run and an error outside of tests are failures. */
function printOutcome(vitest: Vitest): number {
  const modules = vitest.state.getTestModules()
  const tests = modules.flatMap((module) => [...module.children.allTests()])
  const listWith = (state: string) => tests.filter((test) => test.result().state === state)
  const broken = modules.filter((module) => !module.ok() && [...module.children.allTests('failed')].length === 0)
  const failed = listWith('failed').length + broken.length + vitest.state.getUnhandledErrors().length
  const skipped = tests.filter((test) => !['passed', 'failed'].includes(test.result().state))
  for (const test of skipped) {
    const result = test.result()
    print(
      `skipped: ${test.module.relativeModuleId} > ${test.fullName}: ${('note' in result && result.note) || 'no reason given'}`,
    )
  }
  const passed = listWith('passed').length
  print(`${passed} passed, ${failed} failed, ${skipped.length} skipped`)
  return failed === 0 && passed > 0 ? 0 : 1
}

process.exit(await main(process.argv.slice(2)))
