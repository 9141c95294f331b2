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

/** Runs code in a process of its own until it prints a line. */
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

async function waitUntil(isSo: () => boolean): Promise<void> {
  await expect.poll(isSo, { message: `${isSo}` }).toBe(true)
}

function readNote(name: string): string {
  return readFileSync(join(folder, `${name}.pid`), 'utf8').split(' ')[0] ?? ''
}

describe('startServer', () => {
  it('notes who runs, and forgets it when that ends', async () => {
    const server = startServer(folder, 'nap', ['sleep', '1001'])
    await waitUntil(() => existsSync(join(folder, 'nap.pid')) && readCommand(readNote('nap')).startsWith('sleep 1001'))
    await server.stop()
    expect(server.isRunning()).toBe(false)
    expect(existsSync(join(folder, 'nap.pid'))).toBe(false)
  })

  it('says how a server ended, with the end of its log', async () => {
    const server = startServer(folder, 'fall', ['sh', '-c', 'echo first; echo ouch >&2; exit 3'])
    expect((await server.ended).message).toBe('fall ended (exit code 3):\nfirst\nouch')
  })

  it('says so when the program does not exist', async () => {
    const server = startServer(folder, 'none', ['/nowhere/postgres'])
    expect((await server.ended).message).toMatch(/none ended \(exit code 127\):\n.*not found/)
  })

  it('kills what does not heed its signal within the grace', async () => {
    const server = startServer(folder, 'deaf', ['sh', '-c', 'trap "" TERM; echo on; while :; do sleep 1; done'], {
      graceMs: 50,
    })
    await waitUntil(() => readFileSync(join(folder, 'deaf.log'), 'utf8') === 'on\n')
    await server.stop()
    expect((await server.ended).message).toContain('SIGKILL')
  })
})

describe('stopOrphans', () => {
  it('stops what a killed launcher left behind, also after the folder has moved', async () => {
    const launcher = await runElsewhere(
      `startServer(${JSON.stringify(folder)}, 'nap', ['sleep', '1002']); console.log('up')`,
    )
    await waitUntil(() => existsSync(join(folder, 'nap.pid')) && readCommand(readNote('nap')).startsWith('sleep 1002'))
    const pid = readNote('nap')
    await launcher.kill()
    expect(readCommand(pid)).toContain('sleep 1002')
    const moved = `${folder} moved`
    renameSync(folder, moved)
    await stopOrphans(moved)
    renameSync(moved, folder)
    expect(readCommand(pid)).toBe('')
    expect(existsSync(join(folder, 'nap.pid'))).toBe(false)
  })

  it('leaves a stranger alone who was given the number of a process of ours', async () => {
    const stranger = spawn('sleep', ['1003'])
    writeFileSync(join(folder, 'postgres.pid'), `${stranger.pid} SIGINT ${folder}/data\n`)
    await stopOrphans(folder)
    expect(readCommand(`${stranger.pid}`)).toContain('sleep 1003')
    expect(existsSync(join(folder, 'postgres.pid'))).toBe(false)
    stranger.kill()
  })

  it('has nothing to do in a folder that does not exist', async () => {
    await expect(stopOrphans(join(folder, 'none'))).resolves.toBeUndefined()
  })
})

describe('takeLock', () => {
  it('is refused while another process has it, and given when that was killed', async () => {
    const lock = join(folder, 'lock')
    const owner = await runElsewhere(`console.log(takeLock(${JSON.stringify(lock)}))`)
    expect(owner.line).toBe('true')
    expect(takeLock(lock)).toBe(false)
    await owner.kill()
    expect(takeLock(lock)).toBe(true)
  })
})

describe('run', () => {
  it('returns what was printed', async () => {
    expect(await run(['cat'], { input: 'hello\n' })).toBe('hello')
  })

  it('throws the complaint of what failed', async () => {
    await expect(run(['sh', '-c', 'echo no such thing >&2; exit 1'])).rejects.toThrow(/^no such thing$/)
  })
})
