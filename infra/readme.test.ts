import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const readme = read('README.md')

describe('the README', () => {
  it('has no placeholders left', () => {
    expect(readme).not.toMatch(/^[A-Z]{4,}$|\| [A-Z]{4,} +\|/m)
  })

  it('names only files that exist', () => {
    const files = [...readme.matchAll(/`((?:apps|packages|infra)\/[^`\s]+)`/g)].map(([, file = '']) => file)
    const invented = ['apps/api/src/routes/notes.ts', 'apps/api/src/routes/notes.test.ts']
    expect(files.length).toBeGreaterThan(2)
    expect(files.filter((file) => !existsSync(join(root, file)) && !invented.includes(file))).toEqual([])
  })
})

describe('docs/security.md', () => {
  it('has one line per entry of both lists', () => {
    const entries = [...read('docs/security.md').matchAll(/^\| ((?:API|LLM)\d+) /gm)].map(([, entry]) => entry)
    const list = (name: string, from: (n: number) => string) =>
      Array.from({ length: 10 }, (_, n) => `${name}${from(n + 1)}`)
    expect(entries).toEqual([...list('API', String), ...list('LLM', (n) => String(n).padStart(2, '0'))])
  })
})

describe('.env.example', () => {
  it('explains exactly the variables that the API reads', () => {
    const names = (text: string, pattern: RegExp) =>
      [...new Set([...text.matchAll(pattern)].map(([, name]) => name))].sort()
    const schemas = ['access', 'index', 'models'].map((file) => read(`packages/config/src/${file}.ts`)).join('\n')
    const known = names(schemas, /[ {]([A-Z_]{4,}): (?!.*=>)/g).filter((name) => name !== 'NODE_ENV')
    const explained = names(read('.env.example'), /^# ([A-Z_]{4,})=/gm)
    expect(explained).toEqual(known)
  })
})
