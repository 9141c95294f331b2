import { existsSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { copyRepository } from './testing.ts'

const isFull = process.env.SLUICE_FULL !== undefined
const routes = 'apps/api/src/routes'
const schema = 'packages/db/src/schema.ts'

describe('npm run new', () => {
  const copy = copyRepository()
  afterAll(copy.remove)

  it.each([
    ['', 'Pass a plural name: npm run new -- meeting-notes'],
    [
      'Notes',
      'Invalid name "Notes". Use at most 24 lower-case letters, digits and single hyphens, as in meeting-notes.',
    ],
    [
      'notes ../note',
      'Invalid name "../note". Use at most 24 lower-case letters, digits and single hyphens, as in meeting-notes.',
    ],
    ['class one', 'class is a reserved word in JavaScript. Choose another name.'],
    ['addresses', 'Pass the singular too: npm run new -- addresses address'],
    ['chat', 'apps/api/src/routes/chat.ts exists. Choose another name, or remove it first.'],
    ['api-keys', 'packages/db/src/schema.ts already contains apiKeys. Choose another name.'],
    ['docs', 'docs is reserved. Choose another name.'],
    ['tool', 'Pass a name: npm run new -- tool find-orders'],
    [
      'tool findNotes',
      'Invalid name "findNotes". Use at most 40 lower-case letters, digits and single hyphens, as in find-orders.',
    ],
    ['tool read-document', 'apps/api/src/tools/read-document.ts exists. Choose another name, or remove it first.'],
  ])('rejects %j in one line and writes nothing', async (name, complaint) => {
    expect(await copy.run(`node infra/template/new.ts ${name}`)).toEqual({ status: 1, output: `${complaint}\n` })
    expect((await copy.run('git status --porcelain -- apps packages')).output).not.toMatch(/notes|class|schema|tools/i)
  })

  it('undoes everything when the migration cannot be generated', async () => {
    const journal = join(copy.directory, 'packages/db/migrations/meta/_journal.json')
    const text = readFileSync(journal, 'utf8')
    writeFileSync(journal, 'not JSON')
    const { status, output } = await copy.run('node infra/template/new.ts notes')
    writeFileSync(journal, text)
    expect(status).toBe(1)
    expect(output).toContain('npm run db:generate created no migration, so nothing was written.')
    expect((await copy.run('git status --porcelain -- apps packages')).output).not.toMatch(/notes|schema/)
  })

  it('writes the table, its migration, the route and its test, and reports where', async () => {
    const { status, output } = await copy.run('npm run --silent new -- meeting-notes')
    const files = [...output.matchAll(/^((?:apps|packages)\/\S+): /gm)].map(([, file = '']) => file)
    expect({ status, files }).toEqual({
      status: 0,
      files: [
        schema,
        expect.stringMatching(/^packages\/db\/migrations\/\d{4}_meeting_notes\.sql$/),
        `${routes}/meeting-notes.ts`,
        `${routes}/meeting-notes.test.ts`,
      ],
    })
    expect(files.filter((file) => !existsSync(join(copy.directory, file)))).toEqual([])
    expect((await copy.run('npm run --silent new -- meeting-notes')).output).toContain('exists. Choose another name')
  })

  it.each([
    [
      'app.get(',
      'app.gett(',
      /^routes\/meeting-notes\.ts cannot be served: app\.gett is not a function \(apps\/api\/src\/routes\/meeting-notes\.ts:\d+\)\n$/,
    ],
    [
      'import',
      "import './nothing.ts'\nimport",
      /^apps\/api\/src\/routes\/meeting-notes\.ts:1: Could not resolve .*\n$/,
    ],
  ])(
    'a mistake in the route, %s → %s, stops `npm run api` with one line that names the file and the line',
    async (...[right, wrong, line]) => {
      const route = join(copy.directory, routes, 'meeting-notes.ts')
      const text = readFileSync(route, 'utf8')
      writeFileSync(route, text.replace(right, wrong))
      const { status, output } = await copy.run('npm run --silent api', { PORT: '0', LOG_LEVEL: 'error' })
      writeFileSync(route, text)
      expect(status).toBe(1)
      expect(output).toMatch(line)
    },
  )

  it('is bundled only after a change: a file with an older date, or one file less', async () => {
    const build = async () => {
      const { status, output } = await copy.run('npm run --silent build')
      expect(status, output).toBe(0)
      return statSync(join(copy.directory, 'apps/api/dist/server.js')).mtimeMs
    }
    const route = join(copy.directory, routes, 'meeting-notes.ts')
    const first = await build()
    expect(await build()).toBe(first)
    writeFileSync(route, `${readFileSync(route, 'utf8')}\n`)
    utimesSync(route, 0, 0)
    const second = await build()
    expect(second).toBeGreaterThan(first)
    rmSync(route)
    expect(await build()).toBeGreaterThan(second)
  })
})

describe('a copy with generated routes, a generated tool and the route that the README writes by hand', () => {
  const names = ['tags', 'customer-support-queries', 'notes']
  let copy: ReturnType<typeof copyRepository>

  beforeEach((context) => context.skip(!isFull, 'minutes of checks: npm test -- --full'))
  beforeAll(async () => {
    if (!isFull) return
    copy = copyRepository()
    for (const name of ['tags', 'customer-support-queries customer-support-query', 'tool count-words']) {
      const { status, output } = await copy.run(`npm run --silent new -- ${name}`)
      expect(status, output).toBe(0)
    }
    writeNotesByHand(copy.directory)
    const { status, output } = await copy.run('npm run db:generate')
    expect(status, output).toBe(0)
  })
  afterAll(() => copy?.remove())

  it.each(['tsc', 'biome check', 'oxlint --type-aware', 'knip', 'turbo boundaries'])('passes %s', async (command) => {
    const { status, output } = await copy.run(command)
    expect(status, output).toBe(0)
  })

  it('passes the tests of its routes and the tests that check all routes', async () => {
    const tests = [
      'apps/api/src/plugins/openapi.test.ts',
      'apps/api/tests/owners.test.ts',
      ...names.map((name) => `${routes}/${name}.test.ts`),
    ]
    const { status, output } = await copy.run(`vitest run ${tests.join(' ')}`)
    expect(status, output).toBe(0)
    expect(output).toContain(`Test Files  ${tests.length} passed`)
  })

  it.each([
    ['list', 'eq(tags.ownerId, owner), after && isAfter(after)', 'after && isAfter(after)', 'GET /tags:'],
    ['its rows', 'and(eq(tags.ownerId, owner), eq(tags.id, id))', 'eq(tags.id, id)', 'GET /tags/{id}:'],
  ])('fails the owner check when the filter of %s is missing', async (_, filter, rest, promise) => {
    const route = join(copy.directory, routes, 'tags.ts')
    const text = readFileSync(route, 'utf8')
    expect(text).toContain(filter)
    writeFileSync(route, text.replace(filter, rest))
    const { status, output } = await copy.run('vitest run apps/api/tests/owners.test.ts -t "GET /tags"')
    writeFileSync(route, text)
    expect(status).toBe(1)
    expect(output).toContain(`Bob, who asks for what is Alice’s, > ${promise} sees and changes nothing`)
  })
})

/** Follows the README's section on routes: its table, its route and the linked test. */
function writeNotesByHand(directory: string): void {
  const section = readFileSync(join(directory, 'README.md'), 'utf8').match(/^## Add a route.*?^## /ms)?.[0]
  const [, table = ''] = section?.match(/`(export const notes = .*?)`/) ?? []
  const [, route = ''] = section?.match(/```ts\n(.*?) *```/s) ?? []
  const [, test = ''] = readFileSync(join(directory, routes, 'README.md'), 'utf8').match(/```ts\n(.*?)```/s) ?? []
  writeFileSync(join(directory, schema), `${readFileSync(join(directory, schema), 'utf8')}\n${table}\n`)
  writeFileSync(join(directory, routes, 'notes.ts'), route.replaceAll(/^ {3}/gm, ''))
  writeFileSync(join(directory, routes, 'notes.test.ts'), test)
}
