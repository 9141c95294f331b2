import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { copyRepository } from './testing.ts'

const copy = copyRepository()
afterAll(copy.remove)
const isRenamed = (await copy.run('git grep -q "^  .name.: .sluice.,$" package.json')).status !== 0
const rename = (name: string) => copy.run(`node infra/template/rename.ts ${name}`)
const changes = async () => (await copy.run('git diff --name-only')).output

describe('npm run rename', () => {
  beforeEach((context) => context.skip(isRenamed, 'this project has a name of its own already'))

  it.each(['', '"  "', '"Bob\'s Chat"', '4U', '"Acme  Chat"', 'Café', 'a'.repeat(41)])(
    'rejects %s and explains what a valid name is',
    async (name) => {
      expect(await rename(name)).toEqual({
        status: 1,
        output: expect.stringMatching(/^npm run rename -- "Acme Chat": at most .*\n$/),
      })
      expect(await changes()).toBe('')
    },
  )

  it.each(['Order', 'Postgres', '"PG Chat"'])('rejects %s, which Postgres would not accept', async (name) => {
    expect(await rename(name)).toEqual({
      status: 1,
      output: expect.stringMatching(/ is a word that Postgres keeps for itself\n$/),
    })
    expect(await changes()).toBe('')
  })

  it('rejects a working tree with uncommitted changes', async () => {
    writeFileSync(join(copy.directory, 'CHANGELOG.md'), 'a new line\n', { flag: 'a' })
    expect(await rename('Harbour')).toEqual({
      status: 1,
      output: expect.stringMatching(/^There are uncommitted changes: .*\n$/),
    })
    expect(await changes()).toBe('CHANGELOG.md\n')
    await copy.run('git checkout --quiet .')
  })

  it('keeps the old name only where intended, leaves every file formatted, and can be undone', async () => {
    const { status, output } = await copy.run('npm run --silent rename -- "Acme Chat"')
    expect(status, output).toBe(0)
    expect(output).toMatch(/^This is Acme Chat now, acme_chat where spaces may not be\./)
    const kept = output.match(/be\. (.*) still say/)?.[1]?.split(', ') ?? []
    const left = (await copy.run('git grep -il sluice')).output.trim().split('\n')
    expect(left.filter((file) => !kept.some((path) => file.startsWith(path)))).toEqual([])
    expect((await copy.run('biome format')).status).toBe(0)
    expect((await rename('Harbour')).output).toBe('The project has a name already: acme_chat\n')
    await copy.run('git checkout --quiet .')
    expect(await changes()).toBe('')
  })

  it('changes the same files without a repository, as after `npx degit`', async () => {
    const list = async () =>
      (await copy.run('grep -rIl acme_chat --exclude-dir=.git --exclude-dir=node_modules . | sort')).output
    await rename('"Acme Chat"')
    const files = await list()
    await copy.run('git checkout --quiet . && rm -rf .git')
    const { status, output } = await rename('"Acme Chat"')
    expect(status, output).toBe(0)
    expect(output).not.toContain('git diff')
    expect(await list()).toBe(files)
    expect(files).toContain('./package.json')
  })
})
