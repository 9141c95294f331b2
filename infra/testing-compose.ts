import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect } from 'vitest'
import { findFreePort } from './local/stack.ts'
import { execute, isFull, readCommands, readSection, root, whyNotFull } from './testing.ts'

export type ComposeProject = Awaited<ReturnType<typeof createComposeProject>>
type Settings = Record<string, string>

/** Returns whether a Docker engine with Compose responds. */
export async function hasEngine(): Promise<boolean> {
  return execute('sh', ['-c', 'docker info && docker compose version']).then(
    () => true,
    () => false,
  )
}

/**
 * Creates a Compose project for all tests of a file, started by `prepare` once its images are built. The tests are
 * skipped without `--full` or without an engine. The project has its own name, ports and copy of the working tree, so
 * a developer's `.env`, data and containers stay untouched. `changeSources` may edit that copy before the build.
 */
export async function useCompose(
  prepare: (compose: ComposeProject) => Promise<unknown>,
  changeSources: (directory: string) => Promise<unknown> = async () => {},
): Promise<ComposeProject> {
  const canRun = isFull && (await hasEngine())
  const compose = await createComposeProject()
  beforeAll(async () => {
    if (!canRun) return
    await copyWorkingTree(compose.directory)
    await changeSources(compose.directory)
    await compose.sh('docker compose build migrate pgbouncer balancer') // `api` and `worker` use the image of `migrate`
    await prepare(compose)
  })
  beforeEach((context) => {
    context.skip(!isFull, whyNotFull)
    context.skip(!canRun, 'no Docker engine with Compose answers on this machine')
  })
  afterAll(async () => {
    if (canRun)
      await compose.sh(
        'rm -f .env docker-compose.override.yml; docker compose down --volumes --remove-orphans --timeout 5',
      )
    await rm(compose.directory, { recursive: true, force: true })
  })
  return compose
}

async function copyWorkingTree(directory: string): Promise<void> {
  const list = ['ls-files', '-z', '--cached', '--others', '--exclude-standard']
  const { stdout: files } = await execute('git', list, { cwd: root })
  for (const file of files.split('\0').filter((name) => existsSync(join(root, name)) && name !== ''))
    await cp(join(root, file), join(directory, file))
}

/** Returns what Docker needs of this process's environment. */
function inheritEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => /^(PATH|HOME|DOCKER_\w+|\w+_PROXY)$/i.test(name)),
  )
}

async function createComposeProject() {
  const directory = await mkdtemp(join(tmpdir(), 'sluice compose '))
  const [port, prometheusPort, grafanaPort] = [await findFreePort(), await findFreePort(), await findFreePort()]
  const ports = { PORT: `${port}`, PROMETHEUS_PORT: `${prometheusPort}`, GRAFANA_PORT: `${grafanaPort}` }
  const COMPOSE_PROJECT_NAME = `${process.env.COMPOSE_TEST_PREFIX}-${port}`
  const options = { cwd: directory, env: { ...inheritEnvironment(), ...ports, COMPOSE_PROJECT_NAME }, maxBuffer: 1e8 }
  const url = `http://127.0.0.1:${port}`

  /** Runs a command line as a shell in the checkout would. Throws with the whole output when it fails. */
  const sh = async (command: string) => (await execute('sh', ['-ec', command], options)).stdout
  const call = (path: string, init?: RequestInit) => fetch(`${url}${path}`, init)
  const configure = (settings: Settings) => {
    const lines = Object.entries(settings).map((pair) => `${pair.join('=')}\n`)
    return writeFile(join(directory, '.env'), lines.join(''))
  }

  return {
    directory,
    port,
    prometheusPort,
    grafanaPort,
    url,
    sh,
    call,
    /** Writes `.env` without restarting anything. */
    configure,
    /** Writes `.env`, and starts or restarts the affected services. */
    up: async (settings: Settings = {}) => {
      await configure(settings)
      await sh('docker compose up --detach --wait')
    },
    /** Runs the commands of a section of docs/operations.md. */
    runSection: (heading: string) => sh(readCommands(readSection(heading)).join('\n')),
    /** Runs SQL as the superuser, inside the container. */
    queryAsSuperuser: (sql: string) => sh(`docker compose exec -T postgres psql -U postgres sluice -Atc "${sql}"`),
    becomeReady: () => expect.poll(() => call('/health/ready').then(({ status }) => status, String)).toBe(200),
    post: (path: string, body: object) =>
      call(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    /** Returns the stored last message of a conversation. Retries if it is missing or the API is overloaded. */
    readStored: async (conversationId: string) => {
      const message = `the stored conversation ${conversationId}`
      const read = async () => JSON.parse(await (await call(`/conversations/${conversationId}`)).text())
      let conversation = await read()
      await expect
        .poll(async () => (conversation = conversation.messages ? conversation : await read()), {
          message,
          interval: 500,
        })
        .toHaveProperty('messages')
      return conversation.messages.at(-1)
    },
    /** Runs in the background until `stop`. */
    start: (...args: string[]) => {
      const child = spawn('docker', ['compose', ...args], options)
      const ended = once(child, 'exit')
      let output = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
      const stop = async () => {
        child.kill('SIGINT')
        await ended
      }
      return { stop, readOutput: () => output }
    },
  }
}

const isScraped = /^up\{instance="[\d.]+:3000", job="sluice-api"\} => 1 @/m

/**
 * Starts Prometheus beside a project with `command`, waits until it has read the API's metrics, and sends it a query.
 */
export async function startPrometheus(compose: ComposeProject, command: string) {
  await compose.sh(command)
  const query = (expression: string) =>
    compose.sh(`docker compose exec -T prometheus promtool query instant http://localhost:9090 '${expression}'`)
  await expect.poll(() => query('up'), { timeout: 600_000, interval: 1000 }).toMatch(isScraped) // it scrapes every 15 s
  return { query, remove: () => compose.sh('docker compose rm --stop --force prometheus grafana') }
}
