import type { Config } from '@repo/config'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

const path = '/.well-known/oauth-protected-resource/mcp'

/** Tells clients of `/mcp` which issuer signs in their users (RFC 9728). Without `JWT_ISSUER`, they need a key. */
async function protectedResource(app: FastifyInstance, { config }: { config: Pick<Config, 'JWT_ISSUER'> }) {
  const { JWT_ISSUER: issuer } = config
  if (!issuer) return
  app.get(path, { schema: { hide: true } }, async (request) => ({
    resource: `${toOrigin(request)}/mcp`,
    authorization_servers: [issuer],
    bearer_methods_supported: ['header'],
  }))
  app.addHook('onSend', async (request, reply) => {
    if (reply.statusCode === 401 && request.routeOptions.url === '/mcp')
      reply.header('www-authenticate', `Bearer resource_metadata="${toOrigin(request)}${path}"`)
  })
}

/** Returns the origin under which the client reaches the API. `TRUST_PROXY` decides whether a proxy's headers count. */
function toOrigin({ protocol, host }: FastifyRequest): string {
  return `${protocol}://${host}`
}

export default fp(protectedResource, { name: 'protected-resource' })
