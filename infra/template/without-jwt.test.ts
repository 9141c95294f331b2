import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { copyRepository } from './testing.ts'

const isFull = process.env.SLUICE_FULL !== undefined
const source = 'apps/api/src'

it('deleting two files and one line removes issuer tokens, and the rest passes', async (context) => {
  context.skip(!isFull, 'half a minute of checks: npm test -- --full')
  const copy = copyRepository()
  try {
    for (const file of ['jwt.ts', 'jwt.test.ts']) rmSync(join(copy.directory, source, 'plugins', file))
    const app = join(copy.directory, source, 'app.ts')
    const lines = readFileSync(app, 'utf8').split('\n')
    const rest = lines.filter((line) => !line.includes('plugins/jwt.ts'))
    expect(rest.length).toBe(lines.length - 1)
    writeFileSync(app, rest.join('\n'))
    const tests = ['app', 'owners', 'plugins/auth', 'plugins/quotas'].map((name) => `${source}/${name}.test.ts`)
    for (const command of ['tsc', 'biome check', `vitest run ${tests.join(' ')}`]) {
      const { status, output } = await copy.run(command)
      expect(status, `${command}: ${output}`).toBe(0)
    }
  } finally {
    copy.remove()
  }
})
