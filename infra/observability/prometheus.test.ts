import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { execute, isFull, read, whyNotFull } from '../testing.ts'
import { hasEngine } from '../testing-compose.ts'
import { queries } from './testing.ts'

const [, image = ''] = read('docker-compose.yml').match(/image: (prom\/prometheus:\S+)/) ?? []
const canRun = isFull && (await hasEngine())

/** Runs promtool in Prometheus' image. Throws an error with its output if a check fails. */
async function promtool(folder: string, ...args: string[]) {
  const container = [
    'run',
    '--rm',
    '--volume',
    `${folder}:/config:ro`,
    '--workdir',
    '/config',
    '--entrypoint',
    'promtool',
  ]
  return (await execute('docker', [...container, image, ...args])).stdout
}

describe('promtool', () => {
  beforeEach((context) => {
    context.skip(!isFull, whyNotFull)
    context.skip(!canRun, 'no Docker engine with Compose answers on this machine')
  })

  it('confirms that each alert fires alone on its test data, and none on healthy data', async () => {
    expect(await promtool(import.meta.dirname, 'test', 'rules', 'alerts.test.yml')).toContain('SUCCESS')
  })

  it('accepts the configuration and each query of the dashboard', async () => {
    const checked = await promtool(import.meta.dirname, 'check', 'config', '--syntax-only', 'prometheus.yml')
    expect(checked).toContain('SUCCESS')
    const folder = await mkdtemp(join(tmpdir(), 'sluice-dashboard-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const asRules = queries.map((expr, n) => ({
      record: `panel:${n}`,
      expr: expr.replaceAll('$__rate_interval', '1m'),
    }))
    await writeFile(join(folder, 'rules.yml'), JSON.stringify({ groups: [{ name: 'panels', rules: asRules }] }))
    expect(await promtool(folder, 'check', 'rules', 'rules.yml')).toContain(`SUCCESS: ${queries.length} rules found`)
  })
})
