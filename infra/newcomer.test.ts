import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { findFreePort } from './local/stack.ts'
import { askAsTheReadmeDoes, execute, expectReadmeAnswers, isFull, root, whyNotFull } from './testing.ts'

// Follows the README's quick start without Docker exactly, with its own commands in a fresh clone. Only the port
// differs.

const environment = (port: number) => {
  const { DATABASE_URL: _, DIRECT_DATABASE_URL: __, PGBOUNCER_ADMIN_URL: ___, PATH = '', ...rest } = process.env
  // As in the newcomer's shell, without the entries that npm adds to PATH for this run.
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
    const hasStarted = () => output.includes('Ctrl-C') || start?.exitCode !== null
    // `expect.poll` works only inside a test. The limit ends a hang: installing takes minutes on a slow machine.
    await vi.waitUntil(hasStarted, { timeout: 1_800_000, interval: 100 })
  })

  beforeEach((context) => context.skip(!isFull, whyNotFull))

  afterAll(async () => {
    if (!isFull) return
    if (start?.exitCode === null && start.pid) process.kill(-start.pid, 'SIGKILL')
    await rm(clone, { recursive: true, force: true, maxRetries: 10 })
  })

  it("runs `npm start` in a clone and sees the API's address", () => {
    expect(output).toContain(`http://localhost:${port}`)
    expect(output).toContain('curl -N')
  })

  it('gets the answers that the README promises', async ({ annotate }) => {
    const answers = await askAsTheReadmeDoes(port)
    await annotate(`${Math.round((performance.now() - startedAt) / 1000)} s from git clone to the README's answers`)
    expectReadmeAnswers(answers)
  })

  it('gets a clear message when starting it twice', async () => {
    const again = await execute('npm', ['start'], { cwd: clone, env: environment(port) }).catch((error) => error)
    expect(again.code).toBe(1)
    expect(again.stdout + again.stderr).toContain('already running')
  })

  it('presses Ctrl-C, and everything ends', async () => {
    if (!start?.pid) throw new Error('it never started')
    const ended = once(start, 'exit')
    process.kill(-start.pid, 'SIGINT') // as a terminal does: to the whole process group
    const [code] = await ended
    expect(code).toBe(0)
    const { stdout } = await execute('ps', ['-eo', 'args'])
    expect(stdout.split('\n').filter((line) => line.includes(clone))).toEqual([])
  })
})
