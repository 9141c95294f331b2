import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '..')
const skipped = new Set(['node_modules', '.data', 'dist', '.git', '.turbo'])
const read = (file: string) => readFileSync(join(root, file), 'utf8')

/** The files of a folder and its subfolders, also where there is no git repository. */
function listFiles(folder: string): string[] {
  const entries = readdirSync(join(root, folder), { withFileTypes: true }).filter(({ name }) => !skipped.has(name))
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? listFiles(path) : path
  })
}

const files = listFiles('.').sort()
/** Every page that people read. Test data and the licence texts of collections are not prose of this project. */
const pages = files.filter((file) => file.endsWith('.md') && !/(^|\/)(fixtures|collections)\//.test(file))
const texts = new Map(pages.map((file) => [file, read(file)]))

const withoutCode = (text: string) => text.replaceAll(/^ *```.*?^ *```/gms, '')
const withoutTables = (text: string) => text.replaceAll(/^\|.*$/gm, '')
const countWords = (text: string) => text.match(/\S+/g)?.length ?? 0

/** The sentences of a page's paragraphs and list items, without code blocks, tables and images. */
function readSentences(text: string): string[] {
  const blocks = withoutTables(withoutCode(text))
    .replaceAll(/!\[[^\]]*\]\([^)]*\)/g, '')
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .split(/\n\s*\n|\n(?=\s*(?:[-*>#]|\d+\.) )/)
  return blocks.flatMap((block) => block.replaceAll(/\s+/g, ' ').split(/(?<=[.!?])[*_)]* /))
}

/** The anchors of a page as GitHub makes them from its headings. */
function readAnchors(text: string): string[] {
  const headings = [...withoutCode(text).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading)
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

/** What is wrong with the relative links of a page. */
function findBrokenLinks(file: string, text: string): string[] {
  const targets = [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [path = '', anchor] = target.split('#')
      const page = path === '' ? file : join(dirname(file), path)
      if (!existsSync(join(root, page))) return true
      return anchor !== undefined && !readAnchors(read(page)).includes(anchor)
    })
    .map((target) => `${file}: ${target}`)
}

/** Words and turns of phrase that the style guide replaces, because readers stumble over them. */
const telltale =
  /\b(anew|who(?:m)?ever|[Ss]hall|heeds?|mend(?:s|ed|ing)?|in vain|(?:hang|hangs|hung) up on|any more|those that|who asks|who waits)\b/
/** "a" where a rate needs "per", as in "CPU a token". */
const rate =
  /\b(?:CPU|ms|µs|s|kB|MB|GB|statements?|requests?|quer(?:y|ies)|connections?|times|tokens) an? (?:token|request|second|minute|process|file|chat|stream|query|worker|day|replica)\b/

describe('the README', () => {
  const readme = read('README.md')

  it('has at most 800 words', () => {
    expect(countWords(readme)).toBeLessThanOrEqual(800)
  })

  it('has no sentence of more than 30 words', () => {
    const sentences = readSentences(readme)
    expect(sentences.length).toBeGreaterThan(20)
    expect(sentences.filter((sentence) => countWords(sentence) > 30)).toEqual([])
  })
})

describe('every page', () => {
  it('is found', () => {
    for (const file of ['README.md', 'docs/architecture.md', 'AGENTS.md', 'packages/llm/README.md'])
      expect([...texts.keys()]).toContain(file)
  })

  it('links only to files and headings that exist', () => {
    expect([...texts].flatMap(([file, text]) => findBrokenLinks(file, text))).toEqual([])
  })

  it('names only npm scripts that exist', () => {
    const { scripts }: { scripts: Record<string, string> } = JSON.parse(read('package.json'))
    const known = new Set([...Object.keys(scripts), 'mock', 'record']) // scripts of @repo/testing and @repo/web
    const named = [...texts, ['.env.example', read('.env.example')] as const].flatMap(([file, text]) =>
      [...text.matchAll(/npm run ([a-z][a-z:-]*)/g)].map(([, script = '']) => ({ file, script })),
    )
    expect(named.length).toBeGreaterThan(20)
    expect(named.filter(({ script }) => !known.has(script))).toEqual([])
  })

  it('names only source and test files that exist', () => {
    const known = new Set(files.map((file) => basename(file)))
    const invented = [
      'notes.ts',
      'notes.test.ts',
      'NAME.schemas.ts',
      'send-mail.ts',
      'find-orders.ts',
      'responses.ts',
      'server.mjs',
      'docker-compose.override.yml',
    ]
    const current = [...texts].filter(([file]) => !file.startsWith('docs/decisions/')) // may name what was removed since
    const named = current.flatMap(([file, text]) =>
      [...text.matchAll(/`(?:[\w./-]*\/)?([\w.-]+\.(?:tsx?|mjs|sql|ya?ml))`/g)].map(([, name = '']) => ({
        file,
        name,
      })),
    )
    expect(named.length).toBeGreaterThan(50)
    expect(named.filter(({ name }) => !known.has(name) && !invented.includes(name))).toEqual([])
  })

  it.each([
    ['tell-tale words of stiff English', telltale],
    ['"a" where it means "per"', rate],
  ])('contains no %s', (_, pattern) => {
    const found = [...texts].flatMap(([file, text]) =>
      text.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line}`] : [])),
    )
    expect(found).toEqual([])
  })
})

describe('the decisions', () => {
  const decisions = pages.filter((file) => /^docs\/decisions\/\d/.test(file))
  const index = read('docs/decisions/README.md')

  it('are numbered without gaps and listed in their index', () => {
    expect(decisions.length).toBeGreaterThan(20)
    const numbers = decisions.map((file) => Number(basename(file).slice(0, 4)))
    expect(numbers).toEqual(numbers.map((_, position) => position + 1))
    expect(decisions.filter((file) => !index.includes(`(${basename(file)})`))).toEqual([])
  })

  it.each(decisions)('%s has context, decision and consequences in at most 150 words', (file) => {
    const text = read(file)
    expect(text.match(/^## .*$/gm)).toEqual(['## Context', '## Decision', '## Consequences'])
    expect(countWords(withoutTables(text))).toBeLessThanOrEqual(150)
  })
})

describe('docs/configuration.md', () => {
  it('explains exactly the variables of .env.example', () => {
    const listed = [...read('.env.example').matchAll(/^# +([A-Z_]{4,})=/gm)].map(([, name]) => name)
    const explained = [...read('docs/configuration.md').matchAll(/^\| `([A-Z_]+)` /gm)].map(([, name]) => name)
    expect(explained.toSorted()).toEqual(listed.toSorted())
  })
})

describe('docs/extending.md', () => {
  const diffs = [...read('docs/extending.md').matchAll(/^```diff\n(.*?)^```/gms)].map(
    ([, diff = '']) => [diff.match(/^\+\+\+ b\/(.*)$/m)?.[1], diff] as const,
  )

  it('shows diffs', () => {
    expect(diffs.length).toBeGreaterThanOrEqual(4)
  })

  // `infra/template/extending.test.ts` applies them.
  it.each(diffs)('shows a diff of %s that applies to this version', (_, diff) => {
    execFileSync('git', ['apply', '--check'], { cwd: root, input: diff, stdio: 'pipe' })
  })
})

it('AGENTS.md has at most 40 lines', () => {
  expect(read('AGENTS.md').trimEnd().split('\n').length).toBeLessThanOrEqual(40)
})
