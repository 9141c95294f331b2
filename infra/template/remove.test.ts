import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createTestDatabase } from '../../packages/db/src/testing.ts'
import { startMockModel } from '../../packages/testing/src/mock-model/mock-model.ts'
import { cutBlock } from './cut-block.ts'
import { loadParts } from './load-parts.ts'
import { copyRepository } from './testing.ts'

const isFull = process.env.SLUICE_FULL !== undefined
const whyNotFull = 'takes minutes: npm test -- --full'
const names = Object.keys(await loadParts())

/** Besides the checks and the docs: fast tests that the removal of a part edits. */
const affected: Record<string, string[]> = {
  web: ['apps/api/src/plugins/page.test.ts'],
  bench: ['infra/structure.test.ts'],
  prove: ['packages/connection-guard/src/docs.test.ts'],
  openai: [
    ...['auth', 'errors', 'security'].map((name) => `apps/api/src/plugins/${name}.test.ts`),
    'apps/api/tests/scopes.test.ts',
  ],
  responses: ['apps/api/src/openai/routes.test.ts', 'packages/llm/src/openai-chat.test.ts'],
  mcp: ['apps/api/src/app.test.ts', 'apps/api/src/tools', 'apps/api/tests/scopes.test.ts'],
  offline: ['apps/api/src/plugins/security.test.ts', 'apps/cli/src/reindex.test.ts', 'packages/models'],
  jwt: ['apps/api/src/plugins/auth.test.ts', 'packages/config'],
  kubernetes: ['infra/compose-files.test.ts', 'infra/readme.test.ts'],
  tracing: ['apps/worker/src/job.test.ts', 'packages/models', 'packages/telemetry'],
}

type Copy = ReturnType<typeof copyRepository>

async function expectSuccess(copy: Copy, ...commands: string[]) {
  await Promise.all(
    commands.map(async (command) => {
      const { status, output } = await copy.run(command)
      expect(status, `${command}: ${output}`).toBe(0)
    }),
  )
}

/**
 * What `npm install` and `npm run check` would find. Code that nothing uses and wrong formatting show up when all parts
 * are removed, so only what a part alone can break is checked for each.
 */
const checks = ['npm ci --dry-run --ignore-scripts', 'tsc']
const checksOfAll = [...checks, 'biome check --error-on-warnings', 'knip', 'turbo boundaries']

async function removeFromCopy(...removed: string[]) {
  const copy = copyRepository()
  onTestFinished(copy.remove)
  const { status, output } = await copy.run(`npm run --silent remove -- ${removed.join(' ')}`)
  expect(status, output).toBe(0)
  expect(output).toMatch(`Removed ${removed.join(', ')}: `)
  return { copy, output }
}

it.for(names)('removes %s, finds all that it looks for, and the rest passes', async (name, { skip }) => {
  skip(!isFull, whyNotFull)
  const { copy, output } = await removeFromCopy(name)
  expect(output).not.toContain('not found')
  const tests = ['infra/docs.test.ts', ...(affected[name] ?? ['no tests are listed'])]
  await expectSuccess(copy, ...checks, `vitest run ${tests.join(' ')}`)
})

it('removes all parts at once: the fast tests pass, and a chat is answered', async ({ skip }) => {
  skip(!isFull, whyNotFull)
  skip(names.length === 0, 'all are removed')
  const { copy } = await removeFromCopy(...names)
  await expectSuccess(copy, ...checksOfAll, 'npm run --silent build')
  await expectSuccess(copy, 'vitest run --project fast')
  const [test, mock] = [await createTestDatabase(), await startMockModel()]
  onTestFinished(async () => {
    await mock.close()
    await test.drop()
  })
  const env = { DATABASE_URL: test.databaseUrl, AUTH: 'off', PORT: '0' }
  const api = () =>
    spawn(process.execPath, ['apps/api/dist/server.js'], { cwd: copy.directory, env: { ...env, ...models } })

  let models: Record<string, string> = {}
  const failing = api()
  const [message] = await Promise.all([failing.stderr.toArray(), once(failing, 'exit')])
  expect(message.join('')).toBe('No chat model is configured. Set CHAT_MODEL, and OPENAI_BASE_URL or OPENAI_API_KEY.\n')

  models = { OPENAI_BASE_URL: mock.url, CHAT_MODEL: 'mock', EMBEDDING_MODEL: 'mock-384' }
  const running = api()
  onTestFinished(() => void running.kill('SIGKILL'))
  for await (const line of createInterface(running.stdout)) {
    const { address } = JSON.parse(line)
    if (!address) continue
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${address}/chat`, { method: 'POST', headers, body: '{"message":"[mock tokens=3]"}' })
    expect(await response.text()).toMatch(/"text-delta".*\[DONE\]/s)
    break
  }
})

describe('refuses', () => {
  it('an unknown name and a changed tree, says why, and changes nothing', async ({ skip }) => {
    skip(!isFull, whyNotFull)
    const copy = copyRepository()
    onTestFinished(copy.remove)
    const usage = await copy.run('npm run --silent remove -- nothing')
    expect(usage).toMatchObject({ status: 1, output: expect.stringContaining('npm run remove -- NAME…\n') })
    writeFileSync(join(copy.directory, 'mine.txt'), 'mine')
    const { status, output } = await copy.run('npm run --silent remove -- web')
    expect({ status, output }).toEqual({ status: 1, output: expect.stringMatching(/^There are uncommitted changes\./) })
    expect(existsSync(join(copy.directory, 'apps/web'))).toBe(true)
  })
})

describe('cutBlock', () => {
  it.each([
    [
      'a statement with its comment',
      'a.ts',
      'one()\n\n// Why.\nif (b) {\n  two()\n\n  three()\n}\n\nfour()\n',
      'if (b)',
      'one()\n\nfour()\n',
    ],
    ['an entry of a list', 'a.ts', '[\n  a,\n  {\n    b: 1,\n  },\n  c,\n]\n', '{', '[\n  a,\n  c,\n]\n'],
    ['a section', 'a.md', '# A\n\n## B\n\nb\n\n```sh\n# c\n```\n\n### D\n\n## E\n', '## B', '# A\n\n## E\n'],
    ['a row', 'a.md', '| a |\n| - |\n| b |\n| c |\n', '| b', '| a |\n| - |\n| c |\n'],
    ['a variable, not its neighbour', '.env.example', '# A.\n# A=1\n# B.\n# B=\n', '# B=', '# A.\n# A=1\n'],
    ['nothing, if nothing starts with it', 'a.ts', 'one()\n', 'two', 'one()\n'],
  ])('removes %s', (_, file, text, start, rest) => {
    expect(cutBlock(file, text, start)).toBe(rest)
  })
})
