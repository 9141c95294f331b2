import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

// The README's quick start, followed to the letter: its own commands, in a fresh clone. Only the port is another.

const root = join(import.meta.dirname, '..')
const execute = promisify(execFile)
const minutes = 60_000
const isFull = process.env.SLUICE_FULL !== undefined
const whyNot = 'takes minutes: npm test -- --full'

/** The `curl` lines of the README's quick start. */
async function readCurlCommands(port: number): Promise<string[]> {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const blocks = [...readme.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block = '']) => block)
  const lines = blocks.flatMap((block) => block.trim().split('\n')).filter((line) => line.startsWith('curl '))
  return lines.map((line) => line.replaceAll('localhost:3000', `localhost:${port}`))
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** The words of a streamed answer, or the body of any other. */
function readAnswer(body: string): string {
  const deltas = [...body.matchAll(/^data: (\{.*"type":"text-delta".*\})$/gm)].map(
    ([, part = '']) => JSON.parse(part).delta,
  )
  return deltas.length > 0 ? deltas.join('') : body
}

/** The answer that the README shows, without the numbers of its citations, which depend on what else was found. */
async function readShownAnswer(): Promise<string> {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  return readme.match(/^> (.*?) \[\d\]$/m)?.[1] ?? 'no answer is shown'
}

async function askAsTheReadmeDoes(port: number) {
  const answers: string[] = []
  for (const command of await readCurlCommands(port)) {
    const { stdout } = await execute('sh', ['-c', `${command} -sS`])
    answers.push(readAnswer(stdout))
  }
  return answers
}

async function expectReadmeAnswers([pgbouncer, document, office]: string[]) {
  expect(pgbouncer).toContain(await readShownAnswer())
  expect(pgbouncer).toMatch(/\[\d\]/)
  expect(JSON.parse(document ?? '')).toMatchObject({ title: 'Office', status: 'ready' })
  expect(office).toMatch(/The office opens at nine\..*\[\d\]/s)
}

const environment = (port: number) => {
  const { DATABASE_URL: _, DIRECT_DATABASE_URL: __, PGBOUNCER_ADMIN_URL: ___, PATH = '', ...rest } = process.env
  // As in the newcomer's shell: without what npm put in front for this run.
  const path = PATH.split(':').filter((folder) => !folder.includes('node_modules'))
  return { ...rest, PATH: path.join(':'), PORT: String(port) }
}

describe('a newcomer without Docker', () => {
  let clone: string
  let port: number
  let start: ChildProcess | undefined
  let output = ''
  let startedAt = 0

  beforeAll(async () => {
    if (!isFull) return
    clone = await mkdtemp(join(tmpdir(), 'sluice newcomer '))
    port = await findFreePort()
    startedAt = performance.now()
    await execute('git', ['clone', '--quiet', root, clone])
    start = spawn('npm', ['start'], { cwd: clone, env: environment(port), detached: true })
    for (const stream of [start.stdout, start.stderr]) stream?.on('data', (chunk) => (output += chunk))
    while (!output.includes('Ctrl-C') && start.exitCode === null) await sleep(200)
  }, 5 * minutes)

  beforeEach((context) => context.skip(!isFull, whyNot))

  afterAll(async () => {
    if (!isFull) return
    if (start?.exitCode === null && start.pid) process.kill(-start.pid, 'SIGKILL')
    await rm(clone, { recursive: true, force: true, maxRetries: 10 })
  })

  it('runs `npm start` in a clone and is told where the API is', () => {
    expect(output).toContain(`http://localhost:${port}`)
    expect(output).toContain('curl -N')
  })

  it('gets the answers that the README promises', async ({ annotate }) => {
    const answers = await askAsTheReadmeDoes(port)
    await annotate(`${Math.round((performance.now() - startedAt) / 1000)} s from git clone to the README's answers`)
    await expectReadmeAnswers(answers)
  })

  it('is told that it runs already when they start it twice', async () => {
    const again = await execute('npm', ['start'], { cwd: clone, env: environment(port) }).catch((error) => error)
    expect(again.code).toBe(1)
    expect(again.stdout + again.stderr).toContain('already running')
  })

  it('presses Ctrl-C and everything ends', async () => {
    if (!start?.pid) throw new Error('it never started')
    const ended = once(start, 'exit')
    process.kill(-start.pid, 'SIGINT') // as a terminal does: to the whole group
    const [code] = await ended
    expect(code).toBe(0)
    const { stdout } = await execute('ps', ['-eo', 'args'])
    expect(stdout.split('\n').filter((line) => line.includes(clone))).toEqual([])
  })
})

describe('a newcomer with Docker', () => {
  const project = `sluice-test-${process.pid}`
  let port: number
  let hasEngine = false

  const compose = (...args: string[]) =>
    execute('docker', ['compose', '--project-name', project, ...args], {
      cwd: root,
      env: environment(port),
      maxBuffer: 1e8,
    })

  beforeAll(async () => {
    if (!isFull) return
    port = await findFreePort()
    hasEngine = await execute('docker', ['info']).then(
      () => true,
      () => false,
    )
    if (hasEngine) await compose('up', '--build', '--detach', '--wait')
  }, 10 * minutes)

  beforeEach((context) => {
    context.skip(!isFull, whyNot)
    context.skip(!hasEngine, 'no Docker engine answers on this machine')
  })

  afterAll(async () => {
    if (!hasEngine) return
    await compose('down', '--volumes', '--timeout', '5')
    await execute('docker', ['image', 'rm', `${project}-api`, `${project}-pgbouncer`])
  }, 2 * minutes)

  it('runs `docker compose up` and gets the answers that the README promises', async () => {
    await expectReadmeAnswers(await askAsTheReadmeDoes(port))
  })
})
