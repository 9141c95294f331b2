import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { measureMemoryKb, measureUsage } from './processes.ts'

/** A process that starts another, which works for 0.3 s of CPU; the parent says so once it has ended. */
const program = `
const { spawnSync } = require('node:child_process')
const work = 'const end = process.cpuUsage().user + 3e5; while (process.cpuUsage().user < end);'
spawnSync(process.execPath, ['-e', work])
console.log('worked')
setInterval(() => {}, 1000)`

describe.runIf(process.platform === 'linux')('what a process uses', () => {
  it('includes what its children used, also when they have ended', async () => {
    const child = spawn(process.execPath, ['-e', program])
    await once(child.stdout, 'data')
    const { cpuMs = 0, rssKb = 0 } = measureUsage(child.pid ?? 0) ?? {}
    expect(cpuMs).toBeGreaterThan(300)
    expect(rssKb).toBeGreaterThan(10_000)
    expect(measureMemoryKb(child.pid)).toBeGreaterThan(1000)
    child.kill()
    await once(child, 'close')
    expect(measureUsage(child.pid ?? 0)).toBeUndefined()
  })
})
