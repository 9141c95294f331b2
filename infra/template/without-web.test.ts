import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { copyRepository } from './testing.ts'

const isFull = process.env.SLUICE_FULL !== undefined

it('deleting one folder removes the web page, and the rest passes', async (context) => {
  context.skip(!isFull, 'half a minute of checks: npm test -- --full')
  context.skip(!existsSync(join(import.meta.dirname, '../../apps/web')), 'there is no page any more')
  const copy = copyRepository()
  try {
    const readme = readFileSync(join(copy.directory, 'apps/web/README.md'), 'utf8')
    expect(readme).toContain('`rm -r apps/web && npm install`')
    for (const folder of ['apps/web', 'node_modules/@repo/web'])
      rmSync(join(copy.directory, folder), { recursive: true })
    const tests = ['app', 'plugins/page', 'plugins/openapi', 'routes/documents'].map(
      (name) => `apps/api/src/${name}.test.ts`,
    )
    const commands = ['npm ci --dry-run --ignore-scripts', 'tsc', 'biome check', 'knip', 'turbo boundaries']
    for (const command of [...commands, `vitest run ${tests.join(' ')}`]) {
      const { status, output } = await copy.run(command)
      expect(status, `${command}: ${output}`).toBe(0)
    }
  } finally {
    copy.remove()
  }
})
