import { z } from 'zod'

// Requests to every route that openapi.json describes, made from the document alone: a new route needs no word here.

/** Where a request has room for a text. */
export type Place = { in: 'query' | 'header' | 'body'; name: string }

export type Operation = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  path: string
  hasId: boolean
  places: Place[]
  /** The values of what a request cannot do without, from the document's examples. */
  query: Record<string, string>
  body: Record<string, unknown> | undefined
}

/** What goes into a request: `id` for each parameter of its path, `value` at its place. */
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

/** All operations of openapi.json: what reads comes first, what makes new rows last. */
export function readOperations(openapi: unknown): Operation[] {
  const document = Document.parse(openapi)
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => readOperation(document, method, path, described)),
  )
  const rank = ({ method, hasId }: Operation) => (method === 'POST' && !hasId ? order.length : order.indexOf(method))
  return operations.toSorted((a, b) => rank(a) - rank(b))
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
  const texts = Object.entries(schema?.properties ?? {}).filter(([, property]) => isText(property))
  const required = parameters.filter(({ in: where, required }) => where === 'query' && required)
  return {
    method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']).parse(method.toUpperCase()),
    path,
    hasId: path.includes('{'),
    places: [...params, ...texts.map(([name]) => ({ in: 'body' as const, name }))],
    query: Object.fromEntries(required.map(({ name, schema }) => [name, String(toExample(schema))])),
    body: media && schema && readBody(media, schema),
  }
}

function resolve(document: Document, schema: z.output<typeof Schema>) {
  const name = schema.$ref?.split('/').at(-1)
  return name === undefined ? schema : document.components.schemas[name]
}

/** The document's example of a body; without one, the examples of its parts. */
function readBody(media: z.output<typeof Media>, { properties, required, examples = [] }: z.output<typeof Schema>) {
  const [whole = media.example] = [...Object.values(media.examples).map(({ value }) => value), ...examples]
  if (whole !== undefined) return { ...Object(whole) }
  const parts = Object.entries(properties).filter(([name, { examples }]) => examples || required.includes(name))
  return Object.fromEntries(parts.map(([name, property]) => [name, toExample(property)]))
}

/** Any word does for a text of which the document says no more. */
function toExample({ examples: [first] = ['example'] }: Property): unknown {
  return first
}

/** Not a number, and not one of a few words. */
function isText({ type, enum: words, const: word }: Property): boolean {
  return type === 'string' && words === undefined && word === undefined
}

/** A request as `app.inject` takes it. */
export function fillRequest({ method, path, query, body }: Operation, { id = '', place, value = '' }: Filling) {
  const given = (where: Place['in']) => (place?.in === where ? { [place.name]: value } : {})
  return {
    method,
    url: path.replaceAll(/\{\w+\}/g, encodeURIComponent(id)),
    query: { ...query, ...given('query') },
    headers: given('header'),
    ...(body && { payload: { ...body, ...given('body') } }),
  }
}

/** The routes of `app.printRoutes({ commonPrefix: false })` as openapi.json writes them. HEAD goes with GET. */
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
