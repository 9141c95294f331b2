import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readCommand, run, startServer, stopOrphans, takeLock } from './processes.ts'

const processes = join(import.meta.dirname, 'processes.ts')
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice processes '))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Runs code in another process and waits until it prints a line. */
async function runElsewhere(code: string) {
  const source = `import { startServer, takeLock } from ${JSON.stringify(processes)}\n${code}\nsetInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(child.stdout, 'data')
  const kill = async () => {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  return { line: String(line).trim(), kill }
}

async function waitUntil(condition: () => boolean): Promise<void> {
  await expect.poll(condition, { message: `${condition}` }).toBe(true)
}

function readPid(name: string): string {
  return readFileSync(join(folder, `${name}.pid`), 'utf8').split(' ')[0] ?? ''
}

describe('startServer', () => {
  it('writes a PID file and removes it when the process exits', async () => {
    const server = startServer(folder, 'nap', ['sleep', '1001'])
    await waitUntil(() => existsSync(join(folder, 'nap.pid')) && readCommand(readPid('nap')).startsWith('sleep 1001'))
    await server.stop()
    expect(server.isRunning()).toBe(false)
    expect(existsSync(join(folder, 'nap.pid'))).toBe(false)
  })

  it('reports how a server exited, with the end of its log', async () => {
    const server = startServer(folder, 'fall', ['sh', '-c', 'echo first; echo ouch >&2; exit 3'])
    expect((await server.ended).message).toBe('fall exited (exit code 3):\nfirst\nouch')
  })

  it('reports a program that does not exist', async () => {
    const server = startServer(folder, 'none', ['/nowhere/postgres'])
    expect((await server.ended).message).toMatch(/none exited \(exit code 127\):\n.*not found/)
  })

  it('kills a process that ignores its stop signal for longer than the grace period', async () => {
    const server = startServer(folder, 'deaf', ['sh', '-c', 'trap "" TERM; echo on; while :; do sleep 1; done'], {
      graceMs: 50,
    })
    await waitUntil(() => readFileSync(join(folder, 'deaf.log'), 'utf8') === 'on\n')
    await server.stop()
    expect((await server.ended).message).toContain('SIGKILL')
  })
})

describe('stopOrphans', () => {
  it('stops processes that a killed launcher left running, even after the folder has moved', async () => {
    const launcher = await runElsewhere(
      `startServer(${JSON.stringify(folder)}, 'nap', ['sleep', '1002']); console.log('up')`,
    )
    await waitUntil(() => existsSync(join(folder, 'nap.pid')) && readCommand(readPid('nap')).startsWith('sleep 1002'))
    const pid = readPid('nap')
    await launcher.kill()
    expect(readCommand(pid)).toContain('sleep 1002')
    const moved = `${folder} moved`
    renameSync(folder, moved)
    await stopOrphans(moved)
    renameSync(moved, folder)
    expect(readCommand(pid)).toBe('')
    expect(existsSync(join(folder, 'nap.pid'))).toBe(false)
  })

  it('does not touch another program that was given the same PID', async () => {
    const stranger = spawn('sleep', ['1003'])
    writeFileSync(join(folder, 'postgres.pid'), `${stranger.pid} SIGINT ${folder}/data\n`)
    await stopOrphans(folder)
    expect(readCommand(`${stranger.pid}`)).toContain('sleep 1003')
    expect(existsSync(join(folder, 'postgres.pid'))).toBe(false)
    stranger.kill()
  })

  it('does nothing for a folder that does not exist', async () => {
    await expect(stopOrphans(join(folder, 'none'))).resolves.toBeUndefined()
  })
})

describe('takeLock', () => {
  it('fails while another process holds the lock, and succeeds after that is killed', async () => {
    const lock = join(folder, 'lock')
    const owner = await runElsewhere(`console.log(takeLock(${JSON.stringify(lock)}))`)
    expect(owner.line).toBe('true')
    expect(takeLock(lock)).toBe(false)
    await owner.kill()
    expect(takeLock(lock)).toBe(true)
  })
})

describe('run', () => {
  it('returns the output', async () => {
    expect(await run(['cat'], { input: 'hello\n' })).toBe('hello')
  })

  it('throws the error output of a failed program', async () => {
    await expect(run(['sh', '-c', 'echo no such thing >&2; exit 1'])).rejects.toThrow(/^no such thing$/)
  })
})
