import fc from 'fast-check'
import { z } from 'zod'
import { endsAccess } from './testing-routes.ts'

/** A request's raw parts, and its operation in the API description. */
export type HostileRequest = {
  method: string
  target: string
  headers: string[]
  body: Buffer
  framing: Framing
  /** As in the description (`post /chat`), if neither the method nor the path was altered. */
  operation: string | undefined
}

const framings = [
  'exact',
  'chunked',
  'too short',
  'too long',
  'negative',
  'twice',
  'both',
  'broken chunk',
  'none',
] as const
type Framing = (typeof framings)[number]

const Schema = z.object({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  enum: z.array(z.unknown()).optional(),
  anyOf: z.array(z.unknown()).optional(),
  pattern: z.string().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  required: z.array(z.string()).optional(),
  items: z.unknown().optional(),
})
const Media = z.object({
  schema: z.unknown().optional(),
  example: z.unknown().optional(),
  examples: z.record(z.string(), z.object({ value: z.unknown() })).default({}),
})
const Parameter = z.object({
  name: z.string(),
  in: z.enum(['path', 'query', 'header']),
  schema: z.unknown().optional(),
})
const Operation = z.object({
  parameters: z.array(Parameter).default([]),
  requestBody: z.object({ content: z.object({ 'application/json': Media }) }).optional(),
})
const Description = z.object({ paths: z.record(z.string(), z.record(z.string(), Operation)) })

const nested = (open: string, close: string, depth: number) => open.repeat(depth) + close.repeat(depth)

const hostileText = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('', ' ', '\0', 'a\0b', '\ud800', 'x\udc00', '\u202e\ufeff', '__proto__') },
  {
    weight: 6,
    arbitrary: fc.constantFrom('../../etc/passwd', '%2e%2e%2f', '%00', '%zz', '%ff%fe', "'; drop table x; --"),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom('NaN', '-0', '1e309', '99999999999999999999', 'null', '[object Object]', '{}'),
  },
  { weight: 3, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }) },
  { weight: 1, arbitrary: fc.constantFrom('a'.repeat(200_000), '🏊'.repeat(20_000), '\0'.repeat(40_000)) },
)

const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  hostileText,
  fc.constantFrom(null, true, -1, 0, 1.5, 1e308, Number.MAX_SAFE_INTEGER + 2, [], {}, [[[]]], [null], { length: -1 }),
  fc.jsonValue({ maxDepth: 4 }),
)

/** Texts that `JSON.stringify` never produces. */
const hostileJson = fc.constantFrom(
  ...[
    '',
    ' ',
    'null',
    'true',
    '[]',
    '{',
    '{"message":',
    '"',
    '{"a":1,}',
    "{'a':1}",
    '1e999',
    '{"message":1e999}',
    'NaN',
  ],
  ...['{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}', '{"message":"a","message":{}}'],
  ...['\ufeff{"message":"a"}', '{"message":"\\ud800"}', '{"message":"\\u0000"}', '{"toString":1,"hasOwnProperty":2}'],
  ...[nested('[', ']', 100_000), nested('{"a":', '}', 50_000), `{"messages":${nested('[', ']', 50_000)}}`],
)

/** Generates values that match a schema. */
function fromSchema(given: unknown): fc.Arbitrary<unknown> {
  const schema = Schema.parse(given ?? {})
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map(fromSchema))
  if (schema.enum) return fc.constantFrom(...schema.enum)
  const [type] = [schema.type ?? 'any'].flat()
  if (type === 'string') return schema.pattern ? fc.stringMatching(new RegExp(schema.pattern)) : fc.string()
  if (type === 'integer')
    return fc.integer({ min: Math.max(schema.minimum ?? 0, 0), max: Math.min(schema.maximum ?? 9, 1e6) })
  if (type === 'boolean') return fc.boolean()
  if (type === 'array') return fc.array(fromSchema(schema.items), { minLength: 1, maxLength: 3 })
  if (type !== 'object') return fc.jsonValue({ maxDepth: 3 })
  const entries = Object.entries(schema.properties ?? {}).map(([name, part]) => [name, fromSchema(part)])
  const properties: Record<string, fc.Arbitrary<unknown>> = Object.fromEntries(entries)
  return fc.record(properties, { requiredKeys: schema.required ?? [] })
}

/** Generates a valid body in which up to two hostile values are inserted. */
function spoil(body: unknown, schema: unknown): fc.Arbitrary<unknown> {
  const names = Object.keys(Schema.parse(schema ?? {}).properties ?? {})
  const name = fc.oneof(fc.constantFrom(...names, 'constructor', 'toString'), fc.string({ maxLength: 8 }))
  return fc
    .array(fc.tuple(name, hostileValue), { maxLength: 2 })
    .map((parts) => ({ ...Object(body), ...Object.fromEntries(parts) }))
}

function bodyOf(operation: z.output<typeof Operation>): fc.Arbitrary<Buffer> {
  const media = operation.requestBody?.content['application/json']
  const bytes = fc.uint8Array({ maxLength: 200 }).map((given) => Buffer.from(given))
  const texts = hostileJson.map((text) => Buffer.from(text))
  if (!media) return fc.oneof({ weight: 9, arbitrary: fc.constant(Buffer.alloc(0)) }, bytes, texts)
  const examples = [media.example, ...Object.values(media.examples).map(({ value }) => value)].filter(Boolean)
  const whole = fc.constantFrom(...examples).chain((example) => spoil(example, media.schema))
  const json = fc
    .oneof({ weight: 3, arbitrary: whole }, fromSchema(media.schema), hostileValue)
    .map((value) => Buffer.from(JSON.stringify(value)))
  const cut = fc.tuple(json, fc.nat(20)).map(([text, less]) => text.subarray(0, Math.max(0, text.length - less)))
  const brokenUtf8 = json.map((text) =>
    Buffer.concat([text.subarray(0, -2), Buffer.from([0xc3, 0x28, 0xff]), text.subarray(-2)]),
  )
  return fc.oneof({ weight: 8, arbitrary: json }, texts, bytes, cut, brokenUtf8)
}

const hostileHeader = fc.constantFrom(
  ...[
    'x-request-id: ../../a b',
    `x-request-id: ${'a'.repeat(5000)}`,
    'accept: */*;q=NaN',
    'accept: text/html',
    'range: bytes=0-',
  ],
  ...[
    'expect: 100-continue',
    'expect: miracles',
    'upgrade: websocket\r\nconnection: upgrade',
    'upgrade: h2c',
    'te: trailers',
  ],
  ...[
    'content-encoding: gzip',
    'transfer-encoding: gzip',
    'x-http-method-override: DELETE',
    'if-none-match: *',
    'cookie: a=\x7f',
  ],
  ...[
    'x-forwarded-for: 127.0.0.1',
    'x-forwarded-proto: https',
    'forwarded: for=_',
    'host: other.example',
    'authorization: Basic eA==',
  ],
  ...[
    'last-event-id: a.99999999999',
    'last-event-id: \xe4',
    'last-event-id: a.1',
    'no colon',
    'a b: c',
    ': c',
    'a: b\r\n folded: c',
    'x: \0',
  ],
  ...[`x: ${'a'.repeat(20_000)}`, 'x: y\r\n'.repeat(2500).trim(), `cookie: ${'a=b; '.repeat(2000)}`],
)

const contentType = fc.oneof(
  { weight: 25, arbitrary: fc.constant('application/json') },
  fc.constantFrom(
    '',
    'text/plain',
    'text/html',
    'application/xml',
    'multipart/form-data',
    'multipart/form-data; boundary=x',
  ),
  fc.constantFrom(
    'application/json; charset=utf-16',
    'application/problem+json',
    'APPLICATION/JSON;a',
    'application/',
    '/',
    '*/*',
    'a'.repeat(300),
  ),
  fc.constantFrom(
    'application/x-www-form-urlencoded',
    'application/octet-stream',
    'application/json, text/plain',
    '__proto__',
  ),
)

const tamper = fc.constantFrom<(path: string) => string>(
  ...[
    (path: string) => `/${path}`,
    (path: string) => `${path}/`,
    (path: string) => `${path}/../..`,
    (path: string) => `/health/..${path}`,
  ],
  ...[
    (path: string) => `${path}%00`,
    (path: string) => `${path}/%zz`,
    (path: string) => path.toUpperCase(),
    (path: string) => `${path};a=b`,
  ],
  ...[
    (path: string) => `http://other.example${path}`,
    () => '*',
    () => '',
    (path: string) => `${path}#a`,
    (path: string) => `${path} b`,
  ],
  ...[
    (path: string) => `${path}/${'a'.repeat(300)}`,
    (path: string) => `${path}?${'a=b&'.repeat(4000)}`,
    (path: string) => path.replace('/', '/\\'),
  ],
  ...[
    () => '/docs/static/..%2f..%2fpackage.json',
    () => '/docs/static/../../package.json',
    () => '/docs/%2e%2e/%2e%2e/etc/passwd',
    (path: string) => `${path}/é`,
  ],
)
const methods = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'PROPFIND',
  'QUERY',
  'get',
  'X',
]

/** Generates a parameter's values: none, a valid one, a hostile one, or two. */
function valuesOf({ schema }: z.output<typeof Parameter>): fc.Arbitrary<string[]> {
  const good = fromSchema(schema).map(String)
  return fc.oneof(
    { weight: 4, arbitrary: good.map((value) => [value]) },
    { weight: 3, arbitrary: hostileText.map((value) => [value.slice(0, 3000)]) },
    fc.tuple(good, hostileText),
    fc.constant<string[]>([]),
  )
}

/** Encodes a hostile text, except its percent signs, so that the server has to decode them. */
const encode = (text: string) => encodeURIComponent(text.toWellFormed()).replaceAll(/%25(?=[0-9a-z]{2})/g, '%')

function targetOf(path: string, { parameters }: z.output<typeof Operation>): fc.Arbitrary<string> {
  const given = parameters.map((parameter) => valuesOf(parameter).map((values) => ({ ...parameter, values })))
  return fc.tuple(...given).map((all) => {
    const filled = all
      .filter((one) => one.in === 'path')
      .reduce((text, { name, values }) => text.replace(`{${name}}`, encode(values[0] || 'a')), path)
    const query = all
      .filter((one) => one.in === 'query')
      .flatMap(({ name, values }) => values.map((value) => `${name}=${encode(value)}`))
    return query.length > 0 ? `${filled}?${query.join('&')}` : filled
  })
}

function requestTo(path: string, method: string, operation: z.output<typeof Operation>): fc.Arbitrary<HostileRequest> {
  const rarely = <T>(arbitrary: fc.Arbitrary<T>) =>
    fc.oneof({ weight: 6, arbitrary: fc.constant(undefined) }, arbitrary)
  return fc
    .record({
      target: targetOf(path, operation),
      tampered: rarely(tamper),
      method: rarely(fc.constantFrom(...methods)),
      headers: fc.oneof({ weight: 4, arbitrary: fc.constant<string[]>([]) }, fc.array(hostileHeader, { maxLength: 2 })),
      type: contentType,
      body: bodyOf(operation),
      framing: fc.oneof({ weight: 25, arbitrary: fc.constant('exact' as const) }, fc.constantFrom(...framings)),
    })
    .map(({ target, tampered, method: other, headers, type, body, framing }) => ({
      method: other ?? method.toUpperCase(),
      target: tampered ? tampered(target) : target,
      headers: [...(type && body.length > 0 ? [`content-type: ${type}`] : []), ...headers],
      body,
      framing,
      operation: tampered || other ? undefined : `${method} ${path}`,
    }))
}

/** Generates requests from an API description, most of them invalid in some way. None of them is `endsAccess`. */
export function arbitraryRequest(description: unknown): fc.Arbitrary<HostileRequest> {
  const { paths } = Description.parse(description)
  const all = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ path, method, operation })),
  )
  const allowed = all.filter(({ method, path }) => `${method.toUpperCase()} ${path}` !== endsAccess)
  return fc.oneof(...allowed.map(({ path, method, operation }) => requestTo(path, method, operation)))
}

/**
 * Returns whether the server would wait for the rest of the request. It waits for no body when a request asks for an
 * upgrade.
 */
export function isCutShort({ framing, headers }: HostileRequest): boolean {
  const isUpgrade = headers.some((lines) => lines.startsWith('upgrade:'))
  return !isUpgrade && (framing === 'too long' || framing === 'broken chunk')
}

/** Returns the bytes of a request. The valid headers in `first` come before its own. */
export function toBytes({ method, target, headers, body, framing }: HostileRequest, first: string[]): Buffer {
  const { lines, content } = frame(framing, body)
  const head = [`${method} ${target} HTTP/1.1`, ...first, 'connection: close', ...headers, ...lines, '', '']
  return Buffer.concat([Buffer.from(head.join('\r\n'), 'latin1'), content])
}

function frame(framing: Framing, body: Buffer): { lines: string[]; content: Buffer } {
  const length = (bytes: number) => `content-length: ${bytes}`
  const chunks = Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')])
  const whole = body.length > 0 ? chunks : Buffer.from('0\r\n\r\n')
  const chunked = 'transfer-encoding: chunked'
  const forms: Record<Framing, { lines: string[]; content: Buffer }> = {
    exact: { lines: [length(body.length)], content: body },
    chunked: { lines: [chunked], content: whole },
    'too short': { lines: [length(Math.max(0, body.length - 3))], content: body },
    'too long': { lines: [length(body.length + 10)], content: body },
    negative: { lines: [length(-1)], content: body },
    twice: { lines: [length(body.length), length(body.length + 1)], content: body },
    both: { lines: [length(body.length), chunked], content: whole },
    'broken chunk': { lines: [chunked], content: Buffer.concat([Buffer.from('zz\r\n'), body]) },
    none: { lines: [], content: body },
  }
  return forms[framing]
}
