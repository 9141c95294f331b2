import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { measureMemoryKb, measureUsage } from './processes.ts'

/** A process that runs a child which uses 0.3 s of CPU, and then prints a line. */
const program = `
const { spawnSync } = require('node:child_process')
const work = 'const end = process.cpuUsage().user + 3e5; while (process.cpuUsage().user < end);'
spawnSync(process.execPath, ['-e', work])
console.log('worked')
setInterval(() => {}, 1000)`

describe.runIf(process.platform === 'linux')('the usage of a process', () => {
  it('includes its children, even after they have exited', async () => {
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
