import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineTool } from '../chat/tools.ts'
import { testApp } from '../testing.ts'

const input = z.object({ word: z.string().describe('The word to look up') })
const tools = new Map([['look_up', defineTool({ description: 'Explains a word.', input })]])
const { app, alice, close } = await testApp({ tools })
afterAll(close)
const asked = { message: 'When does the office open?', conversationId: 'described' }
await app.inject({ method: 'POST', url: '/chat', headers: alice, payload: asked })
const described = (await app.inject({ url: '/conversations/described', headers: alice })).json()
const ids: Record<string, string> = { id: described.id, messageId: described.messages[1].id }

const payload = { title: 'Handbook', text: 'Monday to Friday, 9 to 5.' }
const { id: documentId } = (await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })).json()

const Method = z
  .string()
  .toUpperCase()
  .pipe(z.enum(['POST', 'PUT', 'PATCH']))
const Media = z.object({ schema: z.looseObject({}), example: z.unknown().optional(), examples: z.unknown().optional() })
const Response = z.object({
  description: z.string(),
  headers: z.record(z.string(), z.unknown()),
  content: z.record(z.string(), Media).default({}),
})
const Operation = z.object({
  operationId: z.string(),
  summary: z.string(),
  description: z.string().optional(),
  'x-tools': z.unknown().optional(),
  tags: z.array(z.string()),
  security: z.array(z.object({ key: z.array(z.string()) })),
  parameters: z.array(z.object({ name: z.string(), in: z.string() })).default([]),
  requestBody: z.object({ content: z.record(z.string(), Media) }).optional(),
  responses: z.record(z.string(), Response),
})
const Description = z.object({
  info: z.object({ title: z.string(), version: z.string(), description: z.string() }),
  tags: z.array(z.object({ name: z.string(), description: z.string() })),
  paths: z.record(z.string(), z.record(z.string(), Operation)),
  components: z.object({ schemas: z.record(z.string(), z.unknown()) }),
})

const document: Record<string, unknown> = (await app.inject('/openapi.json')).json()
const { info, tags, paths, components } = Description.parse(document)
const operations = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ name: `${method} ${path}`, method, path, ...operation })),
)
const isOpen = (path: string) => path.startsWith('/health/')
const listExamples = ({ example, examples }: z.output<typeof Media>): unknown[] =>
  Object.values(Object(examples))
    .map((entry) => Object(entry).value)
    .concat(example === undefined ? [] : [example])

/** Parses the router's tree of routes into entries such as `get /chat/{id}/stream`. */
function listRoutes(): string[] {
  const parents: string[] = []
  return app
    .printRoutes({ commonPrefix: false })
    .split('\n')
    .flatMap((line) => {
      const [, indent = '', part = '', methods] = line.match(/^([│ ]*)[├└]── (\S*)(?: \(([A-Z, ]+)\))?/) ?? []
      parents.splice(indent.length / 4, parents.length, part)
      const path = parents.join('').replaceAll(/:(\w+)/g, '{$1}')
      return methods ? methods.split(', ').map((method) => `${method.toLowerCase()} ${path}`) : []
    })
}

/** Validates a value with a schema of the document. */
function check(schema: unknown, value: unknown) {
  const text = JSON.stringify({ ...Object(schema), $defs: components.schemas })
  return z.fromJSONSchema(JSON.parse(text.replaceAll('#/components/schemas/', '#/$defs/'))).safeParse(value)
}

describe('the OpenAPI document', () => {
  it('is valid OpenAPI 3.1', async () => {
    const validator = new Validator()
    expect(await validator.validate(structuredClone(document))).toEqual({ valid: true })
    expect(validator.version).toBe('3.1')
  })

  it('needs no key, and neither does the page that shows it', async () => {
    for (const url of ['/openapi.json', '/docs']) expect((await app.inject(url)).statusCode).toBe(200)
  })

  it('contains title, version and an introduction', () => {
    expect(info).toMatchObject({ title: 'Sluice', version: expect.stringMatching(/^\d+\.\d+\.\d+/) })
    for (const word of ['Authorization: Bearer', 'RFC 9457', 'x-request-id']) expect(info.description).toContain(word)
    for (const { name } of tags) expect(operations.flatMap(({ tags }) => tags)).toContain(name)
  })

  it('lists every route except those of the page', () => {
    const shown = listRoutes().filter(
      (name) => !/^(head|options)|^get \/($|\*|docs|openapi\.json|v1\/models\*)/.test(name),
    )
    expect(shown.toSorted()).toEqual(operations.map(({ name }) => name).toSorted())
    expect(shown.length).toBeGreaterThan(15)
  })

  it('lists the tools that the model may call', () => {
    expect(paths['/chat']?.post?.description).toContain('- `look_up`: Explains a word.')
    const parameters = { type: 'object', properties: { word: { type: 'string', description: 'The word to look up' } } }
    expect(paths['/chat']?.post?.['x-tools']).toMatchObject([
      { name: 'look_up', description: 'Explains a word.', parameters },
    ])
  })

  it('contains no unused schemas', () => {
    for (const name of Object.keys(components.schemas))
      expect(JSON.stringify(document)).toContain(`"#/components/schemas/${name}"`)
  })
})

describe.each(operations)('$name', ({ method, path, responses, ...operation }) => {
  const isOurs = tags.some(({ name }) => name === operation.tags[0]) // `npm run new` writes no examples
  const codes = Object.entries(responses)
    .filter(([status]) => Number(status) >= 400)
    .map(([status, { description }]) => [status, description])
  const describeStatus = (status: string) => responses[status]?.description ?? ''

  it('has an operation id, a summary and a tag', () => {
    expect(operation.operationId).toMatch(/^[a-z][A-Za-z0-9]+$/)
    expect(operations.filter(({ operationId }) => operationId === operation.operationId)).toHaveLength(1)
    expect(operation.summary).toMatch(/^[A-Z].{5,}[^.]$/)
    expect(operation.tags).toHaveLength(1)
  })

  it('lists its error codes by status', () => {
    for (const [, description] of codes) expect(description).toMatch(/^[A-Z].+: `\w+`/)
    expect(describeStatus('500')).toContain('internal_error')
    if (operation.parameters.length > 0 || operation.requestBody)
      expect(describeStatus('400')).toContain('invalid_request')
    if (operation.requestBody) {
      expect(describeStatus('400')).toContain('invalid_json')
      expect(describeStatus('413')).toContain('body_too_large')
      expect(describeStatus('415')).toContain('unsupported_media_type')
    }
  })

  it('states whether it needs a key', () => {
    expect(operation.security.length === 0).toBe(isOpen(path)) // scopes.test.ts checks the scopes
    expect(describeStatus('401') === '').toBe(isOpen(path))
    if (isOpen(path)) return
    expect(describeStatus('401')).toContain(path.startsWith('/v1/') ? 'invalid_api_key' : 'unauthorized')
    for (const code of ['foreign_origin', 'scope_missing']) expect(describeStatus('403')).toContain(code)
    expect(describeStatus('503')).toContain('database_unavailable')
  })

  it('lists its response headers', () => {
    for (const [status, { headers }] of Object.entries(responses)) {
      expect(headers).toHaveProperty('x-request-id')
      expect('retry-after' in headers, status).toBe(['429', '503'].includes(status))
      expect('www-authenticate' in headers, status).toBe(['401', '403'].includes(status))
    }
  })

  it('accepts the examples of its request body', async () => {
    const { 'multipart/form-data': _, ...contents } = operation.requestBody?.content ?? {} // an example in JSON cannot contain a file
    for (const media of Object.values(contents)) {
      const examples = listExamples(media)
      if (isOurs) expect(examples.length).toBeGreaterThan(0)
      for (const payload of examples) {
        expect(check(media.schema, payload)).toMatchObject({ success: true })
        const url = path.replaceAll(/\{(\w+)\}/g, (_, id) =>
          path.startsWith('/documents/') ? documentId : (ids[id] ?? ''),
        )
        const request = { method: Method.parse(method), url, headers: alice, payload: Object(payload) }
        const response = await app.inject(request)
        expect(response.statusCode, response.body).toBeLessThan(300)
      }
    }
  })

  it('has an example of its response, which matches its schema', () => {
    for (const [status, { content }] of Object.entries(responses)) {
      for (const media of Object.values(content)) {
        const inSchema = z.array(z.unknown()).safeParse(media.schema.examples).data ?? []
        const named = z.string().safeParse(media.schema.$ref).data?.split('/').at(-1) ?? ''
        const inComponent = Object(components.schemas[named]).examples ?? []
        const examples = [...listExamples(media), ...inSchema, ...inComponent]
        if (isOurs) expect(examples.length, `${method} ${status}`).toBeGreaterThan(0)
        for (const example of examples) expect(check(media.schema, example).error, status).toBeUndefined()
      }
    }
  })
})
