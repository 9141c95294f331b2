import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const readme = read('README.md')

describe('the README', () => {
  it('is short enough to be read: under 185 lines', () => {
    expect(readme.split('\n').length).toBeLessThan(185)
  })

  it('has no gap left to fill in', () => {
    expect(readme).not.toMatch(/^[A-Z]{4,}$|\| [A-Z]{4,} +\|/m)
  })

  it('names only files that exist', () => {
    const files = [...readme.matchAll(/`((?:apps|packages|infra)\/[^`\s]+)`/g)].map(([, file = '']) => file)
    const invented = ['apps/api/src/routes/notes.ts', 'apps/api/src/routes/notes.test.ts']
    expect(files.length).toBeGreaterThan(10)
    expect(files.filter((file) => !existsSync(join(root, file)) && !invented.includes(file))).toEqual([])
  })

  it('names only scripts that exist', () => {
    const { scripts }: { scripts: Record<string, string> } = JSON.parse(read('package.json'))
    const documents = readme + read('.env.example') + read('DECISIONS.md') + read('CHANGELOG.md') + read('SECURITY.md')
    const named = [...documents.matchAll(/npm run ([a-z:]+)/g)].map(([, script = '']) => script)
    expect(named.length).toBeGreaterThan(5)
    expect(named.filter((script) => !(script in scripts))).toEqual([])
  })

  it('names only variables that .env.example explains', () => {
    const explained = new Set([...read('.env.example').matchAll(/^# ([A-Z_]+)=/gm)].map(([, name]) => name))
    const rows = [...readme.matchAll(/^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) +\|/gm)].flatMap(([, row = '']) =>
      row.match(/[A-Z_]+/g),
    )
    expect(rows.length).toBeGreaterThan(10)
    expect(rows.filter((name) => !explained.has(name ?? ''))).toEqual([])
  })
})

describe('SECURITY.md', () => {
  const security = read('SECURITY.md')

  it('names only files that exist', () => {
    const files = [...security.matchAll(/`([\w/.-]+\.(?:ts|md|json))`/g)].map(([, file = '']) => file)
    const folders = ['', 'apps/api/src']
    expect(files.length).toBeGreaterThan(15)
    expect(files.filter((file) => !folders.some((folder) => existsSync(join(root, folder, file))))).toEqual([
      '/openapi.json',
    ])
  })

  it('has a line for each entry of both lists', () => {
    const entries = [...security.matchAll(/^\| ((?:API|LLM)\d+) /gm)].map(([, entry]) => entry)
    const list = (name: string, from: (n: number) => string) =>
      Array.from({ length: 10 }, (_, n) => `${name}${from(n + 1)}`)
    expect(entries).toEqual([...list('API', String), ...list('LLM', (n) => String(n).padStart(2, '0'))])
  })
})

describe('.env.example', () => {
  it('explains every variable that the API reads, and no other', () => {
    const names = (text: string, pattern: RegExp) =>
      [...new Set([...text.matchAll(pattern)].map(([, name]) => name))].sort()
    const known = names(read('packages/config/src/index.ts'), /[ {]([A-Z_]{4,}): (?!.*=>)/g).filter(
      (name) => name !== 'NODE_ENV',
    )
    const explained = names(read('.env.example'), /^# ([A-Z_]{4,})=/gm)
    expect(explained).toEqual(known)
  })
})
