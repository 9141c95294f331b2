import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import type { FastifyInstance, FastifySerializerCompiler } from 'fastify'
import fp from 'fastify-plugin'
import { validatorCompiler } from 'fastify-type-provider-zod'
import { z } from 'zod'

const compile = SerializerSelector()()

/** Validates requests with the routes' zod schemas, and limits responses to the fields in those schemas. */
async function validation(app: FastifyInstance) {
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(compileSerializer)
  const parseJson = app.getDefaultJsonParser('error', 'error')
  // Some clients send this content type without a body, for example with DELETE. Fastify would respond with 400.
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '' && !request.routeOptions.schema?.body) return done(null)
    return parseJson(request, String(body), done)
  })
}

/** Compiles serializers from JSON Schema. Serializing with zod would validate each value again, which costs more CPU. */
const compileSerializer: FastifySerializerCompiler<unknown> = ({ schema, method, url, httpStatus = '' }) => {
  if (!(schema instanceof z.ZodType)) throw new TypeError('response schemas must be zod schemas')
  return compile({ method, url, httpStatus, schema: z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }) })
}

export default fp(validation, { name: 'validation' })
