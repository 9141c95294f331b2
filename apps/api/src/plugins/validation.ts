import type { IncomingMessage } from 'node:http'
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import { takeTurn } from '@repo/llm'
import {
  errorCodes,
  type FastifyInstance,
  type FastifyRequest,
  type FastifySchemaCompiler,
  type FastifySerializerCompiler,
} from 'fastify'
import fp from 'fastify-plugin'
import { validatorCompiler } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { ProblemError } from './errors.ts'
import { createJsonReader } from './large-json.ts'
import { dropNulls } from './nulls.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Name of an array in the body. Of a large body, only the last element of this array is kept, and the id of the one before. */
    lastOf?: string
  }
}

const compile = SerializerSelector()()
const compiled = new WeakMap<z.ZodType, ReturnType<typeof compile>>() // HEAD and GET of a route share their schemas

/** Validates requests with the routes' zod schemas, and limits responses to the fields in those schemas. */
async function validation(app: FastifyInstance) {
  app.setValidatorCompiler(compileValidator)
  app.setSerializerCompiler(compileSerializer)
  const json = createJsonReader()
  app.addHook('onClose', json.close)
  app.addContentTypeParser('application/json', (request: FastifyRequest, payload: IncomingMessage) =>
    parseBody(app, json, request, payload),
  )
}

/** Validates with zod. Null counts as absent in optional fields, and a query parameter must not be repeated. */
const compileValidator: FastifySchemaCompiler<z.ZodType> = (route) => {
  const { schema, httpPart } = route
  const validate = validatorCompiler(route)
  const names = httpPart === 'querystring' && schema instanceof z.ZodObject ? Object.keys(schema.shape) : []
  return (data: unknown) => {
    const result = validate(data)
    if (!Object(result).error) return result
    const repeated = names.find((name) => Array.isArray(Object(data)[name]))
    return repeated ? { error: createRepeatedError(repeated) } : validate(dropNulls(schema, data))
  }
}

function createRepeatedError(name: string): ProblemError {
  const [path, message] = [`/${name}`, 'is repeated. Send it once']
  return new ProblemError(400, 'invalid_request', `${path}: ${message}.`, { extra: { errors: [{ path, message }] } })
}

/** Throws `ProblemError` 415 for a body that would be decoded wrongly. RFC 8259, section 8.1: JSON is UTF-8. */
function assertReadable({ 'content-type': type = '', 'content-encoding': encoding = '' }: IncomingMessage['headers']) {
  const charset = /^application\/json\b.*;\s*charset\s*=\s*"?([^\s;"]*)/i.exec(type)?.[1]
  if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset))
    throw new ProblemError(415, 'unsupported_media_type', 'Unsupported charset. Send JSON as UTF-8.')
  if (!/^(identity)?$/i.test(encoding))
    throw new ProblemError(415, 'unsupported_media_type', 'Unsupported content-encoding. Send the body uncompressed.')
}

/** Parses a JSON body like Fastify, but large ones in a thread. */
async function parseBody(
  app: FastifyInstance,
  json: ReturnType<typeof createJsonReader>,
  request: FastifyRequest,
  payload: IncomingMessage,
): Promise<unknown> {
  assertReadable(request.headers)
  const { schema, config, bodyLimit } = request.routeOptions
  const declaredLength = Number(request.headers['content-length'])
  if (declaredLength > bodyLimit) throw new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE()
  const body = await json.read(payload, bodyLimit, config.lastOf).catch(toClientError)
  if (!Number.isNaN(declaredLength) && body.length !== declaredLength)
    throw new errorCodes.FST_ERR_CTP_INVALID_CONTENT_LENGTH()
  await takeTurn() // validating the body takes some time, too
  if (body.text === undefined) return body.value
  // Some clients send this content type without a body, for example with DELETE. Fastify would respond with 400.
  if (body.text === '' && !schema?.body) return undefined
  const { text } = body
  const parse = app.getDefaultJsonParser('error', 'error')
  return new Promise((resolve, reject) =>
    parse(request, text, (error, value) => (error ? reject(error) : resolve(value))),
  )
}

/** Throws a 400 for a broken connection, like Fastify's own parser. */
function toClientError(error: unknown): never {
  throw Object.assign(Object(error), { statusCode: Object(error).statusCode ?? 400 })
}

/** Compiles serializers from JSON Schema. Serializing with zod would validate each value again and cost more CPU. */
const compileSerializer: FastifySerializerCompiler<unknown> = ({ schema, method, url, httpStatus = '' }) => {
  if (!(schema instanceof z.ZodType)) throw new TypeError('response schemas must be zod schemas')
  const jsonSchema = () => z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' })
  const serialize = compiled.get(schema) ?? compile({ method, url, httpStatus, schema: jsonSchema() })
  compiled.set(schema, serialize)
  return serialize
}

export default fp(validation, { name: 'validation' })
