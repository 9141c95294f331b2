import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance, FastifySerializerCompiler } from 'fastify'
import fp from 'fastify-plugin'
import { jsonSchemaTransform, jsonSchemaTransformObject, validatorCompiler } from 'fastify-type-provider-zod'
import { z } from 'zod'

/** The page may run its own files and ask this API; Swagger UI draws with inline styles and pictures. */
const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const compile = SerializerSelector()()

/** Requests are checked against the routes' zod shapes; /docs and /openapi.json are made from the same shapes. */
async function openapi(app: FastifyInstance) {
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(compileSerializer)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Sluice', version: '0.1.0', description: 'Streamed, cited answers over your documents.' },
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
  })
  await app.register(swaggerUi, { routePrefix: '/docs', logLevel: 'silent', staticCSP: pagePolicy })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
}

/**
 * What leaves is what its shape names, and nothing else. Compiled, since zod would check each value once more: half of what
 * it costs to read a conversation.
 */
const compileSerializer: FastifySerializerCompiler<unknown> = ({ schema, method, url, httpStatus = '' }) => {
  if (!(schema instanceof z.ZodType)) throw new TypeError('the shape of a response should be one of zod’s')
  return compile({ method, url, httpStatus, schema: z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }) })
}

export default fp(openapi, { name: 'openapi' })
