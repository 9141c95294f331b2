import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

export type Options = Exclude<ReturnType<typeof readOptions>, undefined>

const most = 1000 // streams: more say nothing new, and each is an answer that a model writes
const defaults = { levels: '1,2,5,10,20,50,100,200', hold: '2', wait: '10' }
const message = '{"message":"Tell me a long story."}'

const help = `prove-streams --url URL --database URL [OPTIONS]: do the streams of a chat server hold Postgres connections?

It opens more and more streams, counts the connections in Postgres and times a cheap route meanwhile.
Each stream is an answer that your model writes. Use a fake model with answers of at least 5 seconds.

  --url URL            the route that streams: server-sent events, lines of JSON or chunked text
  --database URL       the server's Postgres database, not through a pooler. Use the server's user or pg_monitor
  --pgbouncer URL      PgBouncer's admin console, to show its clients
  --cheap URL          a cheap route, best one that reads the database (default: / of the server)
  --method METHOD      default: POST
  --header 'NAME: …'   may be repeated
  --body TEXT          or @FILE; default: ${message}
                       {n} in URL, headers and body becomes the number of the stream
  --levels N,…         numbers of streams, at most ${most} (default: ${defaults.levels})
  --hold SECONDS       how long each number is measured (default: ${defaults.hold})
  --wait SECONDS       how long to wait for the next first byte (default: ${defaults.wait})
  --report FILE        the report with its plot (default: prove-report.html)
  --i-own-this-server  allows hosts other than this machine. It may fill their pools
  --help               show this help

Exit codes: 0 independent of streams, 1 depends on streams, 2 could not tell or invalid options.
`

/** Parses the command line. Prints help and returns undefined for `--help`. Throws a one-line error for invalid options. */
export function readOptions(args: string[]) {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args,
    options: {
      ...{ url: text, database: text, pgbouncer: text, cheap: text },
      method: { ...text, default: 'POST' },
      header: { ...text, multiple: true, default: [] },
      body: text,
      levels: { ...text, default: defaults.levels },
      hold: { ...text, default: defaults.hold },
      wait: { ...text, default: defaults.wait },
      report: { ...text, default: 'prove-report.html' },
      'i-own-this-server': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(help)
    return undefined
  }
  const mayLeave = values['i-own-this-server']
  const read = (name: 'url' | 'database' | 'pgbouncer' | 'cheap') => readUrl(name, values[name], mayLeave)
  const [url, database] = [read('url'), read('database')]
  if (!url || !database) throw new Error('--url and --database are required. --help shows all options.')
  return {
    request: { url, method: values.method, headers: values.header.map(readHeader), body: readBody(values) },
    ...{ database, pgbouncer: read('pgbouncer'), cheap: read('cheap') ?? new URL('/', url).href },
    levels: readLevels(values.levels),
    holdMs: readNumber('hold', values.hold, 60) * 1000,
    waitMs: readNumber('wait', values.wait, 300) * 1000,
    report: values.report,
  }
}

/** Throws if a URL is invalid, or if it leads to another machine without permission. */
function readUrl(name: string, text: string | undefined, mayLeave: boolean): string | undefined {
  if (text === undefined) return undefined
  const isHttp = name === 'url' || name === 'cheap'
  const expected = isHttp ? /^https?:$/ : /^postgres(ql)?:$/
  if (!URL.canParse(text) || !expected.test(new URL(text).protocol))
    throw new Error(`--${name} must be a URL that begins with ${isHttp ? 'http:// or https://' : 'postgres://'}.`)
  const { hostname, searchParams } = new URL(text)
  const host = isHttp ? hostname : (searchParams.get('host') ?? hostname)
  if (mayLeave || /^(127(\.\d+){3}|\[?::1\]?|(.+\.)?localhost|\/.*)$/.test(host)) return text
  throw new Error(`--${name} leads to ${host}, another machine. Add --i-own-this-server if you may put load on it.`)
}

function readHeader(text: string): [name: string, value: string] {
  const [, name, value] = /^([\w!#$%&'*+.^`|~-]+): *([^\r\n]*)$/.exec(text) ?? []
  if (name === undefined || value === undefined) throw new Error("--header must be 'NAME: VALUE'.")
  return [name.toLowerCase(), value]
}

function readBody({ body, method }: { body?: string | undefined; method: string }): string {
  if (!/^[A-Z]+$/.test(method)) throw new Error('--method must be in capital letters, such as POST.')
  if (body?.startsWith('@')) return readFileSync(body.slice(1), 'utf8')
  return body ?? (method === 'GET' ? '' : message)
}

function readLevels(text: string): number[] {
  const levels = text.split(',').map(Number)
  const isValid = (level: number, index: number) =>
    Number.isInteger(level) && level > (levels[index - 1] ?? 0) && level <= most
  if (levels.every(isValid)) return levels
  throw new Error(`--levels must be growing whole numbers of at most ${most}, such as 1,10,50.`)
}

function readNumber(name: string, text: string, highest: number): number {
  const value = Number(text)
  if (value > 0 && value <= highest) return value
  throw new Error(`--${name} must be a number above 0 and at most ${highest}.`)
}
