import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { embedder } from './corpus/fill.ts'
import type { Variant } from './scenarios.ts'
import { findPids } from './watch/processes.ts'

type Server = { ended: Promise<Error>; isRunning: () => boolean; stop: () => Promise<void> }

/** The temporary stack, which `infra/local` starts. `folder` contains the logs and ids of its processes. */
export type Stack = {
  folder: string
  databaseUrl: string
  directDatabaseUrl: string
  pgbouncerAdminUrl: string
  start: (name: string, command: string[], options: { env: NodeJS.ProcessEnv; graceMs: number }) => Server
  findFreePort: () => Promise<number>
}

/** A server under test, with everything that is measured: process ids, Postgres and PgBouncer. */
export type Target = {
  url: string
  pids: Record<string, number>
  /** The file that the server writes its log to; none of a server that others started. */
  log?: string
  /** Whether the model's name contains the settings of answers. Otherwise each question must. */
  isModelSet?: boolean
  /** The environment of the server; none of a server that others started. */
  env?: NodeJS.ProcessEnv
  directDatabaseUrl: string
  pgbouncerAdminUrl: string
  /** Stops the server. Returns the delay of the mock model in ms, which is a limit of the machine, not of the server. */
  stop: () => Promise<{ p99: number } | undefined>
}

const inApps = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const mockModel = fileURLToPath(new URL('../../../packages/testing/src/mock-model/server.ts', import.meta.url))
const servers: Record<Variant, string> = {
  pooled: inApps('api/dist/server.js'),
  direct: inApps('api/dist/server.js'),
  drizzle: fileURLToPath(new URL('./variants/drizzle.ts', import.meta.url)),
  floor: fileURLToPath(new URL('./variants/floor.ts', import.meta.url)),
  'ai-sdk': fileURLToPath(new URL('./variants/ai-sdk.ts', import.meta.url)),
  held: fileURLToPath(new URL('./variants/held.ts', import.meta.url)),
  blocking: fileURLToPath(new URL('./variants/blocking.ts', import.meta.url)),
}
const graceMs = 3000 // after SIGTERM

/** Starts a variant and a new mock model. `overrides` change the default environment. */
export async function startTarget(
  stack: Stack,
  variant: Variant,
  overrides: Record<string, string> = {},
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
    ...overrides,
  }
  const server = stack.start('server', [process.execPath, ...nodeOptions, servers[variant]], { env, graceMs })
  const log = join(stack.folder, 'server.log')
  const processes = Number(overrides.WEB_CONCURRENCY ?? 1)
  const allListen = () => readFileSync(log, 'utf8').split('"msg":"listening"').length > processes
  await waitUntil(allListen, server)
  await waitUntil(() => isOk(`${url}/health/ready`), server)
  const { directDatabaseUrl, pgbouncerAdminUrl } = stack
  return {
    url,
    pids: findPids(stack.folder, ['server', 'mock', 'postgres', 'pgbouncer']),
    log,
    env,
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

/** Returns Postgres as the target, with or without PgBouncer. */
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

/** Creates a conversation of ten messages, and returns its path. Throws if it is incomplete. */
export async function prepareConversation(url: string): Promise<string> {
  const conversationId = `bench-${Math.random().toString(36).slice(2)}`
  for (let turn = 1; turn <= 5; turn += 1) {
    const body = JSON.stringify({ message: `Why, for the ${turn}th time? [mock tokens=60 interval=0]`, conversationId })
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${url}/chat`, { method: 'POST', headers, body })
    await response.text()
  }
  const path = `/conversations/${conversationId}`
  const stored = await (await fetch(url + path)).text()
  if (stored.split('"role":').length !== 11)
    throw new Error(`The conversation does not have ten messages: ${stored.slice(0, 200)}`)
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

/** Returns the environment of the API as shipped, except for `AUTH` and titles: the other variants write none. */
function createEnvironment({ databaseUrl }: Stack, modelUrl: string) {
  const models = { OPENAI_BASE_URL: modelUrl, CHAT_MODEL: 'mock', EMBEDDING_MODEL: embedder.model }
  return { PATH: process.env.PATH, DATABASE_URL: databaseUrl, ...models, AUTH: 'off', CONVERSATION_TITLES: 'question' }
}

async function isOk(url: string): Promise<boolean> {
  const response = await fetch(url).catch(() => undefined)
  return response?.ok ?? false
}

async function waitUntil(condition: () => boolean | Promise<boolean>, server: Server): Promise<void> {
  while (!(await condition())) {
    if (!server.isRunning()) throw await server.ended
    await sleep(50)
  }
}
