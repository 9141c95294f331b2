import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it, onTestFinished } from 'vitest'

const root = join(import.meta.dirname, '..')

/** Returns what the structure check reports about a repository with these files; empty when it passes. */
async function checkStructure(files: Record<string, string>): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'structure-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, dirname(path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  const args = ['--config', join(root, '.dependency-cruiser.cjs'), 'apps', 'packages', '--output-type', 'err']
  const check = promisify(execFile)(join(root, 'node_modules/.bin/depcruise'), args, { cwd: folder })
  return check.then(
    () => '',
    ({ stdout }) => String(stdout),
  )
}

const valid = { 'apps/api/src/a.ts': 'export const a = 1\n', 'packages/rag/src/b.ts': 'export type B = string\n' }

it('accepts a repository without violations', async () => {
  expect(await checkStructure(valid)).toBe('')
})

it('accepts a route that imports its own schemas', async () => {
  const files = {
    'apps/api/src/routes/chat.ts': "import './chat.schemas.ts'\n",
    'apps/api/src/routes/chat.schemas.ts': 'export {}\n',
  }
  expect(await checkStructure({ ...valid, ...files })).toBe('')
})

it.each([
  [
    'two files that import each other, even if only a type',
    'no-circular',
    {
      'apps/api/src/a.ts': "import { c } from './c.ts'\nexport type A = typeof c\n",
      'apps/api/src/c.ts': "import type { A } from './a.ts'\nexport const c: A | 1 = 1\n",
    },
  ],
  [
    'two folders that import each other',
    'no-circular-folders',
    {
      'apps/api/src/one/a.ts': "import '../two/b.ts'\n",
      'apps/api/src/two/b.ts': 'export {}\n',
      'apps/api/src/two/c.ts': "import '../one/d.ts'\n",
      'apps/api/src/one/d.ts': 'export {}\n',
    },
  ],
  [
    'an import of the bench',
    'no-import-of-bench',
    { 'apps/api/src/a.ts': "import '../../bench/src/load.ts'\n", 'apps/bench/src/load.ts': 'export {}\n' },
  ],
  [
    'fastify in packages/rag',
    'rag-and-llm-without-fastify',
    { 'packages/rag/src/b.ts': "import fastify from 'fastify'\nexport const b = fastify\n" },
  ],
  [
    'a route that imports another route',
    'routes-are-independent',
    {
      'apps/api/src/routes/chat.ts': "import './search.ts'\n",
      'apps/api/src/routes/search.ts': 'export {}\n',
    },
  ],
  [
    'a route that imports another route whose name begins like its own',
    'routes-are-independent',
    {
      'apps/api/src/routes/chat.ts': "import './chat-old.ts'\n",
      'apps/api/src/routes/chat-old.ts': 'export {}\n',
    },
  ],
  [
    'a route that imports the schemas of another route',
    'routes-are-independent',
    {
      'apps/api/src/routes/chat.ts': "import './search.schemas.ts'\n",
      'apps/api/src/routes/search.schemas.ts': 'export {}\n',
    },
  ],
  [
    'schemas that import those of another route',
    'routes-are-independent',
    {
      'apps/api/src/routes/chat.schemas.ts': "import './search.schemas.ts'\n",
      'apps/api/src/routes/search.schemas.ts': 'export {}\n',
    },
  ],
])('rejects %s', async (_, rule, files) => {
  expect(await checkStructure({ ...valid, ...files })).toContain(rule)
})
