import { setImmediate as nextTurn } from 'node:timers/promises'
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import type { FastifyInstance, FastifySerializerCompiler } from 'fastify'
import fp from 'fastify-plugin'
import { validatorCompiler } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { createLargeJsonParser, smallJson } from './large-json.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** An array of the body of which only the last element counts: the others of a large body are dropped unread. */
    lastOf?: string
  }
}

const compile = SerializerSelector()()

/** Validates requests with the routes' zod schemas, and limits responses to the fields in those schemas. */
async function validation(app: FastifyInstance) {
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(compileSerializer)
  const parseJson = app.getDefaultJsonParser('error', 'error')
  const largeJson = createLargeJsonParser()
  app.addHook('onClose', largeJson.close)
  app.addContentTypeParser<Buffer<ArrayBuffer>>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const { schema, config } = request.routeOptions
    // Some clients send this content type without a body, for example with DELETE. Fastify would respond with 400.
    if (body.length === 0 && !schema?.body) return done(null)
    if (body.length <= smallJson) return parseJson(request, body.toString(), done)
    largeJson
      .parse(body, config.lastOf)
      .then(nextTurn) // to copy the body has taken its time; to check it takes some more
      .then((value) => done(null, value), done)
  })
}

/** Compiles serializers from JSON Schema. Serializing with zod would validate each value again, which costs more CPU. */
const compileSerializer: FastifySerializerCompiler<unknown> = ({ schema, method, url, httpStatus = '' }) => {
  if (!(schema instanceof z.ZodType)) throw new TypeError('response schemas must be zod schemas')
  return compile({ method, url, httpStatus, schema: z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }) })
}

export default fp(validation, { name: 'validation' })
