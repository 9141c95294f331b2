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
import { isPublicPath } from './auth.ts'
import { listErrorCodes } from './error-catalogue.ts'
import { isOpenAi, ProblemError, toErrorBody } from './errors.ts'
import { listScopes } from './scopes.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The fields of a form that the route accepts instead of JSON. The route validates them itself. */
    form?: z.ZodObject
  }
}

/** Allows the page's own files and this API. Swagger UI needs inline styles and `data:` images. */
const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const Manifest = z.object({ version: z.string() })
/** The version of this project. */
export const { version } = Manifest.parse(
  JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8')),
)

const description = `Streamed, cited answers over your documents.

Send an API key with every request: \`Authorization: Bearer sl_…\`. Only \`/health/*\`, \`/docs\` and \`/openapi.json\` need no key. A key gives access to its owner's data only. With \`AUTH=off\` no key is needed, but only this machine may call the API.

A key may be limited to the scopes \`read\`, \`chat\` and \`documents\`. It then needs one of those that a route's \`security\` names, otherwise the response is \`403 scope_missing\`. Only keys without scopes may call a route that names none.

Errors are problem+json (RFC 9457), or OpenAI's envelope below \`/v1/\`. The \`code\` is stable, and each route lists its codes. Any request can also fail with \`400 bad_request\`, \`404 route_not_found\`, \`405 method_not_allowed\`, \`408 request_timeout\` or \`431 headers_too_large\`. Every response has an \`x-request-id\`, which also appears in the server's log.`

/** A route's tag is the first part of its URL. */
const tags = [
  { name: 'chat', description: 'Ask a question, resume or stop an answer' },
  { name: 'conversations', description: 'Stored questions and answers' },
  { name: 'documents', description: 'The sources of answers' },
  { name: 'search', description: 'Find passages without calling a chat model' },
  { name: 'v1', description: 'OpenAI-compatible API. It stores nothing.' },
  { name: 'mcp', description: 'Model Context Protocol, for clients such as Claude and Cursor' },
  { name: 'health', description: 'Health checks for operators' },
  { name: 'metrics', description: 'Prometheus metrics for operators' },
  { name: 'live', description: 'Live status for people' },
]

/** Swagger UI would build the same description once more as YAML, at each request. */
const uiHooks = {
  onRequest: async ({ routeOptions }: FastifyRequest, reply: FastifyReply) => {
    if (routeOptions.url === '/docs/yaml') return reply.callNotFound()
  },
}

/** Serves /docs and /openapi.json, generated from the schemas that validate requests. */
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
  const indexPrefix = '.' // its files have relative URLs, so it also works below a path of another site
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    indexPrefix,
    logLevel: 'silent',
    staticCSP: pagePolicy,
    uiHooks,
  })
  let json = ''
  // Building the description takes 70 ms, which no stream should wait for.
  app.addHook('onReady', async () => {
    json = JSON.stringify(app.swagger())
  })
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) =>
    reply.type('application/json; charset=utf-8').send(json),
  )
}

/** Adds what a route's configuration implies to its schemas: operation id, tag, errors and headers. */
const describeRoute: SwaggerTransform = (document) => {
  const { schema, url } = jsonSchemaTransform(document)
  if (!schema || schema.hide) return { schema, url }
  const { route } = document
  const zodSchemas: FastifySchema = document.schema
  const responses = { ...describeResponses(schema, zodSchemas), ...describeProblems(route) }
  const response = Object.fromEntries(
    Object.entries(responses).map(([status, entry]) => [status, { ...entry, headers: listHeaders(status, url) }]),
  )
  const [tag = ''] = url.split('/').filter(Boolean)
  const inputs = {
    ...(schema.body !== undefined && { body: addForm(addExamples(schema.body, zodSchemas.body), route.config) }),
    ...(schema.querystring !== undefined && { querystring: addExamples(schema.querystring, zodSchemas.querystring) }),
  }
  const names = { operationId: nameOperation(route), tags: [tag] }
  const security = isPublicPath(url) ? [] : describeSecurity(route)
  return { schema: { ...names, ...schema, ...inputs, security, response }, url }
}

/** Lists one alternative for each scope that allows a key to call the route. Keys without scopes may call every route. */
function describeSecurity({ method, config }: RouteOptions): { key: string[] }[] {
  const alternatives = listScopes(String(method), config).map((scope) => ({ key: [scope] }))
  return alternatives.length > 0 ? alternatives : [{ key: [] }]
}

function addForm(schema: object, { form }: FastifyContextConfig = {}): object {
  if (!form) return schema
  const fields = z.toJSONSchema(form, { io: 'input' })
  return { content: { 'application/json': { schema }, 'multipart/form-data': { schema: fields } } }
}

/** Adds the examples of a schema and its fields. Zod omits them from schemas with a transform. */
function addExamples(description: unknown, zodSchema: unknown): object {
  const examples = zodSchema instanceof z.ZodType && listExamples(zodSchema)
  const described = { ...Object(description), ...(examples && { examples }) }
  if (!(zodSchema instanceof z.ZodObject) || !described.properties) return described
  const properties = Object.entries(described.properties).map(([name, part]) => [
    name,
    addExamples(part, zodSchema.shape[name]),
  ])
  return { ...described, properties: Object.fromEntries(properties) }
}

function listExamples(zodSchema: z.ZodType): unknown[] | undefined {
  const { examples } = z.globalRegistry.get(zodSchema) ?? {}
  return Array.isArray(examples) ? examples : undefined
}

/** Describes successful responses. Named schemas become `$ref`s, which drop the description, so it is copied here. */
function describeResponses(schema: FastifySchema, zodSchemas: FastifySchema): Record<string, object> {
  const entries = Object.entries(schema.response ?? { 200: {} }).map(([status, described]) => {
    const zodSchema: unknown = Object(zodSchemas.response)[status]
    if (!(zodSchema instanceof z.ZodType)) return [status, Object(described)]
    const description = zodSchema.description ?? STATUS_CODES[status]
    if (zodSchema instanceof z.ZodUndefined) return [status, { description, type: 'null' }]
    const [example] = listExamples(zodSchema) ?? []
    return [status, { description, content: { 'application/json': { schema: described, example } } }]
  })
  return Object.fromEntries(entries)
}

/** Returns the default operation id of a route: `getNotesById`. */
function nameOperation({ method, url }: RouteOptions): string {
  const words = url
    .replaceAll(':', 'by-')
    .split(/[^A-Za-z0-9]+/)
    .filter(Boolean)
  const capitals = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1))
  return String(method).toLowerCase() + capitals.join('')
}

function describeProblems(route: RouteOptions): Record<string, object> {
  const [type, schema] = isOpenAi(route.url)
    ? ['application/json', 'OpenAiError']
    : ['application/problem+json', 'Problem']
  const describe = (status: number, codes: string[]) => {
    const detail = 'What is wrong and what to do about it.'
    const bodies = codes.map((code) => toErrorBody(new ProblemError(status, code, detail), route.url, 'b7f1d2a4'))
    const names = bodies.map((body) => `\`${'error' in body ? body.error.code : body.code}\``)
    return {
      description: `${STATUS_CODES[status]}: ${names.join(', ')}`,
      content: { [type]: { schema: { $ref: `#/components/schemas/${schema}` }, example: bodies[0] } },
    }
  }
  return Object.fromEntries(
    Object.entries(listErrorCodes(route)).map(([status, codes]) => [status, describe(Number(status), codes)]),
  )
}

function listHeaders(status: string, url: string) {
  const text = (description: string) => ({ type: 'string', description })
  return {
    'x-request-id': text(
      'The request’s own `x-request-id` if it is valid (1 to 64 of `A-Z a-z 0-9 _ . -`), otherwise a new one',
    ),
    ...(['429', '503'].includes(status) && { 'retry-after': { type: 'integer', description: 'Seconds' } }),
    ...(['401', '403'].includes(status) && { 'www-authenticate': text('Bearer. With 403, the scope that is missing') }),
    ...((isOpenAi(url) || status === '503') && {
      'x-should-retry': text(
        '`false` if the model was called, since each retry costs money; `true` if the request had no effect',
      ),
    }),
  }
}

/** Removes unused schemas. Each named schema is generated twice, for input and output, and most are used once. */
const dropUnused: SwaggerTransformObject = (original) => {
  const document = jsonSchemaTransformObject(original)
  if (!('components' in document) || !document.components?.schemas) return document
  const { schemas } = document.components
  const used = new Set<string>()
  const visit = (part: unknown) => {
    for (const [, name = ''] of JSON.stringify(part).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (used.has(name)) continue
      used.add(name)
      visit(schemas[name])
    }
  }
  visit({ ...document, components: { ...document.components, schemas: {} } })
  for (const name of Object.keys(schemas)) if (!used.has(name)) delete schemas[name]
  return document
}

export default fp(openapi, { name: 'openapi' })
