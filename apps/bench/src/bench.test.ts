import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Measurements } from './capacity/model.ts'
import type { Outcome } from './outcome.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Runs `npm run bench -- ARGS`. */
async function bench(...args: string[]) {
  const command = [join(root, 'infra/local/launch.mjs'), 'bench', ...args]
  return promisify(execFile)(process.execPath, command, { cwd: root })
}

describe('npm run bench', () => {
  it('starts its own servers, checks every byte, and writes table, report, picture and numbers', async ({ skip }) => {
    skip(process.env.SLUICE_FULL === undefined, 'needs npm test -- --full')
    const out = mkdtempSync(join(root, '.data/bench-test-'))
    onTestFinished(() => rmSync(out, { recursive: true, force: true }))
    const json = join(out, 'numbers.json')
    const load = [
      '--only',
      'streams',
      '--quick',
      '--streams',
      '8',
      '--tokens',
      '40',
      '--seconds',
      '1',
      '--chunks',
      '500',
    ]
    const { stdout } = await bench(...load, '--folder', join(out, 'stack'), '--out', out, '--json', json)
    expect(stdout).toMatch(/^ {2}failed +0 +0$/m)
    expect(stdout).toContain('reached idle in transaction: 0, goal: at most 0')
    expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain('Busy Postgres connections')
    expect(readFileSync(join(out, 'connections.svg'), 'utf8')).toMatch(/^<svg /)

    const [outcome]: Outcome[] = JSON.parse(readFileSync(json, 'utf8'))
    const [pooled, held] = outcome?.rows.map(({ values }) => values) ?? []
    expect(pooled).toMatchObject({ failed: 0, idleInTransaction: 0 })
    expect(pooled?.completed).toBeGreaterThanOrEqual(8)
    expect(held).toMatchObject({ failed: 0, idleInTransaction: held?.busy })
    expect(held?.busy).toBeGreaterThan(1)
  })

  it('measures app, PgBouncer and Postgres per chat of each baseline, and searches of a given size', async ({
    skip,
  }) => {
    skip(process.env.SLUICE_FULL === undefined, 'needs npm test -- --full')
    const out = mkdtempSync(join(root, '.data/bench-test-'))
    onTestFinished(() => rmSync(out, { recursive: true, force: true }))
    const load = ['--only', 'chat,search', '--quick', '--seconds', '2', '--chunks', '500']
    const { stdout } = await bench(...load, '--folder', join(out, 'stack'), '--out', out)
    expect(stdout).toMatch(/^ +floor +drizzle +pooled +pooled\/floor +pooled\/drizzle$/m)
    for (const part of ['app', 'PgBouncer', 'Postgres', 'sum'])
      expect(stdout).toMatch(new RegExp(`^ {2}CPU per request ms: ${part}( +[\\d.]+){3}( +[\\d.]+x){2}$`, 'm'))
    expect(stdout).toMatch(/^ {2}failed +0 +0 +0$/m)
    expect(stdout).toMatch(/^ +500 chunks$/m)
    expect(stdout).toMatch(/^ {2}done +100$/m)
    expect(stdout).toMatch(/^ {2}response p95 ms +[\d.]+$/m)
  })

  it('--capacity measures costs, real runs and pools, and writes the tables to a page', async ({ skip }) => {
    skip(process.env.SLUICE_FULL === undefined, 'needs npm test -- --full')
    const out = mkdtempSync(join(root, '.data/bench-test-'))
    onTestFinished(() => rmSync(out, { recursive: true, force: true }))
    const page = join(out, 'page.md')
    writeFileSync(page, '<!-- tables: npm run bench -- --capacity -->\n<!-- end of tables -->\n')
    const load = ['--capacity', '--streams', '10', '--seconds', '1', '--chunks', '200']
    const { stdout } = await bench(...load, '--folder', join(out, 'stack'), '--out', out, '--page', page)
    expect(readFileSync(page, 'utf8')).toContain(stdout.trim())
    expect(stdout).toMatch(/^\| API replicas +\| \d/m)

    const measurements: Measurements = JSON.parse(readFileSync(join(out, 'capacity.json'), 'utf8'))
    const { idle, slow, fast, chats, ingestion } = measurements.runs
    expect(slow).toMatchObject({ work: { chats: 0 } })
    expect(slow.work.streamSeconds).toBeGreaterThan(5 * idle.work.streamSeconds)
    expect(fast.work.tokens / fast.work.streamSeconds).toBeGreaterThan(slow.work.tokens / slow.work.streamSeconds)
    expect(chats.cost.statements / chats.work.chats).toBeGreaterThan(2)
    expect(ingestion.work.chunks).toBeGreaterThan(0)
    expect(Math.min(ingestion.cost.worker, ...measurements.quantilesMs)).toBeGreaterThan(0)
    expect(measurements.checks.map(({ load }) => load.processes)).toEqual([1, 2])
    for (const { measured } of measurements.pools) expect(measured.meanWaitMs).toBeGreaterThan(0)

    const again = await bench('--capacity', '--from', join(out, 'capacity.json'))
    expect(again.stdout.trim()).toBe(stdout.trim())
  })

  it('prints help, and rejects invalid options', async () => {
    expect((await bench('--help')).stdout).toContain('ten-thousand')
    await expect(bench('--only', 'nonsense')).rejects.toThrow('Unknown value for --only: nonsense')
    await expect(bench('--repeat', '0')).rejects.toThrow('--repeat must be a whole number of at least 1')
  })
})
