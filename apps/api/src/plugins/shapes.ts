import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import type { FastifyInstance, FastifySerializerCompiler } from 'fastify'
import fp from 'fastify-plugin'
import { validatorCompiler } from 'fastify-type-provider-zod'
import { z } from 'zod'

const compile = SerializerSelector()()

/** What comes in is checked against the routes' zod shapes; what leaves is what they name, and nothing else. */
async function shapes(app: FastifyInstance) {
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(compileSerializer)
  const parseJson = app.getDefaultJsonParser('error', 'error')
  // Clients that name a type for each request send it with no body, too: `DELETE` would be 400.
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '' && !request.routeOptions.schema?.body) return done(null)
    return parseJson(request, String(body), done)
  })
}

/** Compiled, since zod would check each value once more, which stands out in a profile of `GET /conversations/:id`. */
const compileSerializer: FastifySerializerCompiler<unknown> = ({ schema, method, url, httpStatus = '' }) => {
  if (!(schema instanceof z.ZodType)) throw new TypeError('the shape of a response should be one of zod’s')
  return compile({ method, url, httpStatus, schema: z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }) })
}

export default fp(shapes, { name: 'shapes' })
