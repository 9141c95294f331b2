import { z } from 'zod'

// Builds requests to every route from openapi.json alone, so a new route needs no change here.

/** A part of a request that accepts a text, or the second id of a path. */
export type Place = { in: 'path' | 'query' | 'header' | 'body'; name: string }

export type Operation = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  path: string
  hasId: boolean
  places: Place[]
  /** Required values, from the document's examples. */
  query: Record<string, string>
  body: Record<string, unknown> | undefined
}

/** Values to insert into a request: `id` for each path parameter, and `value` at `place`. */
export type Filling = { id?: string; place?: Place; value?: string }

const Property = z.looseObject({
  type: z.unknown().optional(),
  enum: z.unknown().optional(),
  const: z.unknown().optional(),
  examples: z.array(z.unknown()).optional(),
})
type Property = z.output<typeof Property>
const Schema = Property.extend({
  $ref: z.string().optional(),
  properties: z.record(z.string(), Property).default({}),
  required: z.array(z.string()).default([]),
})
const Media = z.object({
  schema: Schema,
  example: z.unknown().optional(),
  examples: z.record(z.string(), z.object({ value: z.unknown() })).default({}),
})
const Parameter = z.object({
  in: z.enum(['path', 'query', 'header']),
  name: z.string(),
  required: z.boolean().default(false),
  schema: Property,
})
const Described = z.looseObject({
  parameters: z.array(Parameter).default([]),
  requestBody: z.object({ content: z.record(z.string(), Media) }).optional(),
})
const Method = z.enum(['get', 'post', 'put', 'patch', 'delete'])
const Document = z.looseObject({
  paths: z.record(z.string(), z.partialRecord(Method, Described)),
  components: z.looseObject({ schemas: z.record(z.string(), Schema).default({}) }),
})
type Document = z.output<typeof Document>

const order = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']

/** It would end the credentials that a test uses. `me.test.ts` covers it. */
export const endsAccess = 'DELETE /me'

/** Returns all operations of openapi.json except `endsAccess`: reads come first, those that create rows last. */
export function readOperations(openapi: unknown): Operation[] {
  const document = Document.parse(openapi)
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => readOperation(document, method, path, described)),
  )
  const rank = ({ method, hasId }: Operation) => (method === 'POST' && !hasId ? order.length : order.indexOf(method))
  return operations
    .filter(({ method, path }) => `${method} ${path}` !== endsAccess)
    .toSorted((a, b) => rank(a) - rank(b))
}

function readOperation(
  document: Document,
  method: string,
  path: string,
  { parameters, requestBody }: z.output<typeof Described>,
): Operation {
  const media = requestBody?.content['application/json']
  const schema = media && resolve(document, media.schema)
  const params = parameters.flatMap(({ in: where, name, schema }) =>
    where === 'path' || !isText(schema) ? [] : [{ in: where, name }],
  )
  const [, second] = parameters.flatMap(({ in: where, name }) => (where === 'path' ? [{ in: where, name }] : []))
  const texts = Object.entries(schema?.properties ?? {}).filter(([, property]) => isText(property))
  const required = parameters.filter(({ in: where, required }) => where === 'query' && required)
  return {
    method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']).parse(method.toUpperCase()),
    path,
    hasId: path.includes('{'),
    // With two ids in the path, each pair of values is a request. Texts would multiply their number again.
    places: second ? [second] : [...params, ...texts.map(([name]) => ({ in: 'body' as const, name }))],
    query: Object.fromEntries(required.map(({ name, schema }) => [name, String(toExample(schema))])),
    body: media && schema && readBody(media, schema),
  }
}

function resolve(document: Document, schema: z.output<typeof Schema>) {
  const name = schema.$ref?.split('/').at(-1)
  return name === undefined ? schema : document.components.schemas[name]
}

/** Returns the document's example of a body, or else the examples of its properties. */
function readBody(media: z.output<typeof Media>, { properties, required, examples = [] }: z.output<typeof Schema>) {
  const [whole = media.example] = [...Object.values(media.examples).map(({ value }) => value), ...examples]
  if (whole !== undefined) return { ...Object(whole) }
  const parts = Object.entries(properties).filter(([name, { examples }]) => examples || required.includes(name))
  return Object.fromEntries(parts.map(([name, property]) => [name, toExample(property)]))
}

/** Returns an example of a property. Any word is valid for a text without further constraints. */
function toExample({ examples: [first] = ['example'] }: Property): unknown {
  return first
}

/** Returns whether a property accepts any text: not a number, and not an enum. */
function isText({ type, enum: words, const: word }: Property): boolean {
  return type === 'string' && words === undefined && word === undefined
}

/** Returns a request for `app.inject`. */
export function fillRequest({ method, path, query, body }: Operation, { id = '', place, value = '' }: Filling) {
  const given = (where: Place['in']): Record<string, string> => (place?.in === where ? { [place.name]: value } : {})
  return {
    method,
    url: path.replaceAll(/\{(\w+)\}/g, (_, name) => encodeURIComponent(given('path')[name] ?? id)),
    query: { ...query, ...given('query') },
    headers: given('header'),
    ...(body && { payload: { ...body, ...given('body') } }),
  }
}

/**
 * Parses the routes of `app.printRoutes({ commonPrefix: false })` into the format of openapi.json. HEAD is treated as
 * GET.
 */
export function readRouteTable(printed: string): string[] {
  const above: string[] = []
  return printed.split('\n').flatMap((line) => {
    const [, indent = '', path = '', methods = ''] = /^(.*?)[├└]── (\S+) \((.*)\)/.exec(line) ?? []
    if (path === '') return []
    const depth = indent.length / 4
    above.splice(depth, above.length, path)
    const whole = above.join('').replaceAll(/:(\w+)/g, '{$1}')
    return methods.split(', ').flatMap((method) => (method === 'HEAD' ? [] : [`${method} ${whole}`]))
  })
}
