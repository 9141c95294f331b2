import { readFileSync } from 'node:fs'
import { STATUS_CODES } from 'node:http'
import swagger, { type SwaggerTransform, type SwaggerTransformObject } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type {
  FastifyContextConfig,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  FastifySchema,
  RouteOptions,
} from 'fastify'
import fp from 'fastify-plugin'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { isOpen } from './auth.ts'
import { isOpenAi, ProblemError, toErrorBody } from './errors.ts'
import { listProblems } from './problem-list.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The fields of a form that the route takes in the place of its JSON. The route checks them itself. */
    form?: z.ZodObject
  }
}

/** The page may run its own files and ask this API; Swagger UI draws with inline styles and pictures. */
const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const Manifest = z.object({ version: z.string() })
const { version } = Manifest.parse(
  JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8')),
)

const description = `Streamed, cited answers over your documents.

Every request carries a key, \`Authorization: Bearer sl_…\`, but those to \`/health/*\`, \`/docs\` and \`/openapi.json\`; what it reads and writes belongs to the key's owner. With \`AUTH=off\` none is needed, and only this machine may call.

An error is problem+json (RFC 9457), below \`/v1/\` OpenAI's envelope: its \`code\` is stable, and each route lists its own. What is no request that a route could read has one too: \`400 bad_request\`, \`404 route_not_found\`, \`408 request_timeout\`, \`431 headers_too_large\`. Every response has an \`x-request-id\`, which the log has as well.`

/** A route's tag is the noun of its URL. */
const tags = [
  { name: 'chat', description: 'Ask, read on, stop' },
  { name: 'conversations', description: 'What was asked and answered' },
  { name: 'documents', description: 'What answers are made from' },
  { name: 'search', description: 'The passages alone, without a model' },
  { name: 'v1', description: 'For clients that speak OpenAI’s API; nothing is stored' },
  { name: 'health', description: 'For whoever runs this' },
  { name: 'metrics', description: 'For whoever runs this' },
  { name: 'live', description: 'For whoever watches' },
]

/** Swagger UI would build the same description once more as YAML, at each request. */
const uiHooks = {
  onRequest: async ({ routeOptions }: FastifyRequest, reply: FastifyReply) => {
    if (routeOptions.url === '/docs/yaml') return reply.callNotFound()
  },
}

/** /docs and /openapi.json, made from the shapes that requests are checked against. */
async function openapi(app: FastifyInstance) {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Sluice', version, description, license: { name: 'MIT', identifier: 'MIT' } },
      tags,
      components: {
        securitySchemes: { key: { type: 'http', scheme: 'bearer', description: 'npm run manage -- create-key' } },
      },
      security: [{ key: [] }],
    },
    transform: describeRoute,
    transformObject: dropUnused,
  })
  await app.register(swaggerUi, { routePrefix: '/docs', logLevel: 'silent', staticCSP: pagePolicy, uiHooks })
  let json = ''
  // Building the description takes 70 ms, which no stream should wait for.
  app.addHook('onReady', async () => {
    json = JSON.stringify(app.swagger())
  })
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) =>
    reply.type('application/json; charset=utf-8').send(json),
  )
}

/** Adds to a route's shapes what follows from what the route is: a name, its tag, its problems, headers. */
const describeRoute: SwaggerTransform = (document) => {
  const { schema, url } = jsonSchemaTransform(document)
  if (!schema || schema.hide) return { schema, url }
  const { route } = document
  const shapes: FastifySchema = document.schema
  const responses = { ...describeResponses(schema, shapes), ...describeProblems(route) }
  const response = Object.fromEntries(
    Object.entries(responses).map(([status, entry]) => [status, { ...entry, headers: listHeaders(status, url) }]),
  )
  const [tag = ''] = url.split('/').filter(Boolean)
  const inputs = {
    ...(schema.body !== undefined && { body: addForm(addExamples(schema.body, shapes.body), route.config) }),
    ...(schema.querystring !== undefined && { querystring: addExamples(schema.querystring, shapes.querystring) }),
  }
  const names = { operationId: nameOperation(route), tags: [tag] }
  return { schema: { ...names, ...schema, ...inputs, ...(isOpen(url) && { security: [] }), response }, url }
}

function addForm(schema: object, { form }: FastifyContextConfig = {}): object {
  if (!form) return schema
  const fields = z.toJSONSchema(form, { io: 'input' })
  return { content: { 'application/json': { schema }, 'multipart/form-data': { schema: fields } } }
}

/** The examples of a shape and its parts, which zod leaves out of those that change what they read. */
function addExamples(description: unknown, shape: unknown): object {
  const examples = shape instanceof z.ZodType && listExamples(shape)
  const described = { ...Object(description), ...(examples && { examples }) }
  if (!(shape instanceof z.ZodObject) || !described.properties) return described
  const properties = Object.entries(described.properties).map(([name, part]) => [
    name,
    addExamples(part, shape.shape[name]),
  ])
  return { ...described, properties: Object.fromEntries(properties) }
}

function listExamples(shape: z.ZodType): unknown[] | undefined {
  const { examples } = z.globalRegistry.get(shape) ?? {}
  return Array.isArray(examples) ? examples : undefined
}

/** What a route answers when it can. A shape with a name of its own tells the response nothing of what it is. */
function describeResponses(schema: FastifySchema, shapes: FastifySchema): Record<string, object> {
  const entries = Object.entries(schema.response ?? { 200: {} }).map(([status, described]) => {
    const shape: unknown = Object(shapes.response)[status]
    if (!(shape instanceof z.ZodType)) return [status, Object(described)]
    const description = shape.description ?? STATUS_CODES[status]
    if (shape instanceof z.ZodUndefined) return [status, { description, type: 'null' }]
    const [example] = listExamples(shape) ?? []
    return [status, { description, content: { 'application/json': { schema: described, example } } }]
  })
  return Object.fromEntries(entries)
}

/** A client's name for a route that gives itself none: `getNotesById`. */
function nameOperation({ method, url }: RouteOptions): string {
  const words = url
    .replaceAll(':', 'by-')
    .split(/[^A-Za-z0-9]+/)
    .filter(Boolean)
  const capitals = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1))
  return String(method).toLowerCase() + capitals.join('')
}

function describeProblems(route: RouteOptions): Record<string, object> {
  const [type, shape] = isOpenAi(route.url)
    ? ['application/json', 'OpenAiError']
    : ['application/problem+json', 'Problem']
  const describe = (status: number, codes: string[]) => {
    const detail = 'One sentence: what is wrong, and what to do about it.'
    const bodies = codes.map((code) => toErrorBody(new ProblemError(status, code, detail), route.url, 'b7f1d2a4'))
    const names = bodies.map((body) => `\`${'error' in body ? body.error.code : body.code}\``)
    return {
      description: `${STATUS_CODES[status]}: ${names.join(', ')}`,
      content: { [type]: { schema: { $ref: `#/components/schemas/${shape}` }, example: bodies[0] } },
    }
  }
  return Object.fromEntries(
    Object.entries(listProblems(route)).map(([status, codes]) => [status, describe(Number(status), codes)]),
  )
}

function listHeaders(status: string, url: string) {
  const text = (description: string) => ({ type: 'string', description })
  return {
    'x-request-id': text('The caller’s own, where it was a plain word of at most 64 characters; else a new one'),
    ...(['429', '503'].includes(status) && { 'retry-after': { type: 'integer', description: 'Seconds' } }),
    ...(status === '401' && { 'www-authenticate': text('Bearer') }),
    ...((isOpenAi(url) || status === '503') && {
      'x-should-retry': text('`false` once the model was called: each try is paid for; `true` where nothing was done'),
    }),
  }
}

/** Of a shape with a name there are two descriptions, as it is read and as it is written: most have one use. */
const dropUnused: SwaggerTransformObject = (given) => {
  const document = jsonSchemaTransformObject(given)
  if (!('components' in document) || !document.components?.schemas) return document
  const { schemas } = document.components
  for (const name of Object.keys(schemas).reverse()) {
    if (!JSON.stringify(document).includes(`"#/components/schemas/${name}"`)) delete schemas[name] // who uses another comes after it
  }
  return document
}

export default fp(openapi, { name: 'openapi' })
