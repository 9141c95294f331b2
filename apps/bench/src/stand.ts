import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Variant } from './scenarios.ts'
import { findPids } from './watch/processes.ts'

type Server = { ended: Promise<Error>; isRunning: () => boolean; stop: () => Promise<void> }

/** What the bench stands on, which `infra/embedded` starts. `folder` has the logs of its processes, and their numbers. */
export type Stack = {
  folder: string
  databaseUrl: string
  directDatabaseUrl: string
  pgbouncerAdminUrl: string
  start: (name: string, command: string[], options: { env: NodeJS.ProcessEnv; graceMs: number }) => Server
  findFreePort: () => Promise<number>
}

/** A server under test, with all that is measured around it: processes by their numbers, Postgres and PgBouncer. */
export type Target = {
  url: string
  pids: Record<string, number>
  /** The file that the server writes its log to; none of a server that others started. */
  log?: string
  directDatabaseUrl: string
  pgbouncerAdminUrl: string
  /** Ends it, and says how late the mock model was, in ms: that is the machine's limit and not the server's. */
  stop: () => Promise<{ p99: number } | undefined>
}

const inApi = (file: string) => fileURLToPath(new URL(`../../api/src/${file}`, import.meta.url))
const mockModel = fileURLToPath(new URL('./mock-model-server.ts', import.meta.url))
const servers: Record<Variant, string> = {
  pooled: inApi('server.ts'),
  direct: inApi('server.ts'),
  floor: fileURLToPath(new URL('./variants/floor.ts', import.meta.url)),
  'ai-sdk': fileURLToPath(new URL('./variants/ai-sdk.ts', import.meta.url)),
  held: fileURLToPath(new URL('./variants/held.ts', import.meta.url)),
  blocking: fileURLToPath(new URL('./variants/blocking.ts', import.meta.url)),
}
const graceMs = 3000 // after SIGTERM

/** Starts a variant with this environment over the defaults, and a mock model that nobody else has used. */
export async function startTarget(
  stack: Stack,
  variant: Variant,
  given: Record<string, string> = {},
  nodeOptions: string[] = [],
): Promise<Target> {
  const mock = await startMock(stack)
  const port = await stack.findFreePort()
  const url = `http://127.0.0.1:${port}`
  const env = {
    ...createEnvironment(stack, mock.modelUrl),
    ...(variant === 'direct' && { DATABASE_URL: stack.directDatabaseUrl }),
    HOST: '127.0.0.1',
    PORT: `${port}`,
    DRAIN_TIMEOUT_MS: '500',
    ...given,
  }
  const server = stack.start('server', [process.execPath, ...nodeOptions, servers[variant]], { env, graceMs })
  const log = join(stack.folder, 'server.log')
  const hasAll = () => readFileSync(log, 'utf8').split('"msg":"listening"').length > Number(given.WEB_CONCURRENCY ?? 1)
  await waitUntil(hasAll, server)
  await waitUntil(() => isOk(`${url}/health/ready`), server)
  const { directDatabaseUrl, pgbouncerAdminUrl } = stack
  return {
    url,
    pids: findPids(stack.folder, ['server', 'mock', 'postgres', 'pgbouncer']),
    log,
    directDatabaseUrl,
    pgbouncerAdminUrl,
    stop: async () => {
      const lateness = await mock.readLateness()
      await server.stop()
      await mock.stop()
      return lateness
    },
  }
}

/** Postgres, through PgBouncer or not, without a server. */
export function openDatabase(stack: Stack, variant: Variant): Target {
  const { folder, directDatabaseUrl, pgbouncerAdminUrl } = stack
  return {
    url: variant === 'direct' ? directDatabaseUrl : stack.databaseUrl,
    pids: findPids(folder, ['postgres', 'pgbouncer']),
    directDatabaseUrl,
    pgbouncerAdminUrl,
    stop: async () => undefined,
  }
}

/** Makes the tables, and loads the sample documents, so that there is something to find. */
export async function prepareDatabase(stack: Stack, signal: AbortSignal): Promise<void> {
  const mock = await startMock(stack)
  const env = { ...createEnvironment(stack, mock.modelUrl), DIRECT_DATABASE_URL: stack.directDatabaseUrl }
  for (const file of ['migrate.ts', 'seed.ts']) {
    await promisify(execFile)(process.execPath, [inApi(file)], { env, signal })
  }
  await mock.stop()
}

/** Asks five questions in a new conversation, and gives its path. Throws when that does not have ten messages then. */
export async function prepareConversation(url: string): Promise<string> {
  const conversationId = `bench-${Math.random().toString(36).slice(2)}`
  for (let turn = 1; turn <= 5; turn += 1) {
    const body = JSON.stringify({ message: `Why, for the ${turn}th time? [mock tokens=60]`, conversationId })
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${url}/chat`, { method: 'POST', headers, body })
    await response.text()
  }
  const path = `/conversations/${conversationId}`
  const stored = await (await fetch(url + path)).text()
  if (stored.split('"role":').length !== 11) throw new Error(`no conversation of ten messages: ${stored.slice(0, 200)}`)
  return path
}

async function startMock(stack: Stack) {
  const port = await stack.findFreePort()
  const env = { PATH: process.env.PATH, PORT: `${port}` }
  const server = stack.start('mock', [process.execPath, mockModel], { env, graceMs })
  const url = `http://127.0.0.1:${port}`
  await waitUntil(() => isOk(`${url}/stats`), server)
  return {
    modelUrl: `${url}/v1`,
    readLateness: async () => {
      const response = await fetch(`${url}/stats`)
      const { lateness }: { lateness: { p99: number } } = JSON.parse(await response.text())
      return lateness
    },
    stop: server.stop,
  }
}

/** But for `AUTH`, the API as shipped. */
function createEnvironment({ databaseUrl }: Stack, modelUrl: string) {
  const models = { OPENAI_BASE_URL: modelUrl, CHAT_MODEL: 'mock', EMBEDDING_MODEL: 'mock-embed-384' }
  return { PATH: process.env.PATH, DATABASE_URL: databaseUrl, ...models, AUTH: 'off' }
}

async function isOk(url: string): Promise<boolean> {
  const response = await fetch(url).catch(() => undefined)
  return response?.ok ?? false
}

async function waitUntil(isSo: () => boolean | Promise<boolean>, server: Server): Promise<void> {
  while (!(await isSo())) {
    if (!server.isRunning()) throw await server.ended
    await sleep(50)
  }
}
