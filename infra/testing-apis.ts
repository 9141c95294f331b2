import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { run, type startServer } from './local/processes.ts'
import { findFreePort, type Stack } from './local/stack.ts'

const root = join(import.meta.dirname, '..')
const program = (path: string, checkout = root) => join(checkout, 'apps', path)

export type Api = Awaited<ReturnType<typeof startApi>>

/** An API process on a port of its own, which it keeps across restarts. Keys are required. */
export async function startApi(
  start: Stack['start'],
  name: string,
  environment: Record<string, string>,
  { checkout = root, graceMs = 20_000 } = {},
) {
  const port = await findFreePort()
  const url = `http://127.0.0.1:${port}`
  const env = {
    LOG_LEVEL: 'warn',
    CHAT_MODEL: 'mock',
    CONVERSATION_TITLES: 'question',
    ...environment,
    PORT: `${port}`,
  }
  const launch = () => start(name, [process.execPath, program('api/dist/server.js', checkout)], { env, graceMs })
  const isReady = async () => (await fetch(`${url}/health/ready`).catch(() => undefined))?.ok
  const untilReady = async () => {
    for (const startedAt = performance.now(); !(await isReady()); await sleep(50)) {
      if (!server.isRunning()) throw await server.ended
      if (performance.now() - startedAt > 600_000) throw new Error(`${name} is not ready after ten minutes`)
    }
  }
  let server: ReturnType<typeof startServer> = launch()
  await untilReady()
  return {
    url,
    isRunning: () => server.isRunning(),
    /** Kills the process, as when the machine crashes. */
    kill: async () => {
      server.kill()
      await server.ended
    },
    /** Sends SIGTERM and returns how the process ended. */
    stop: async (): Promise<string> => {
      await server.stop()
      return (await server.ended).message
    },
    restart: async () => {
      server = launch()
      await untilReady()
    },
  }
}

/** Returns headers that authenticate a new owner. */
export async function createOwner(databaseUrl: string, name: string): Promise<{ authorization: string }> {
  const command = [process.execPath, program('cli/dist/manage.js'), 'create-key', '--owner', name]
  return { authorization: `Bearer ${await run(command, { env: { DATABASE_URL: databaseUrl } })}` }
}

/** Creates the tables, or updates them to the version in a checkout. */
export async function migrate(directDatabaseUrl: string, checkout = root): Promise<void> {
  await run([process.execPath, program('cli/dist/migrate.js', checkout)], {
    env: { DIRECT_DATABASE_URL: directDatabaseUrl },
  })
}
