import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/**
 * Security headers of every response: browsers may show it to the API's own page only. The pages at / and /docs set
 * their own policies (page.ts, openapi.ts). https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html
 */
export const securityHeaders = {
  'content-security-policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff', // an uploaded document never runs as a script
  'x-frame-options': 'DENY', // for browsers without support for frame-ancestors
  'referrer-policy': 'no-referrer', // URLs contain questions (/search) and ids
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin', // affects <img> and <script> only, so CORS_ORIGINS still work
  'x-permitted-cross-domain-policies': 'none', // for PDF readers that still check it
  'cache-control': 'no-store', // browsers and proxies store no user data
}

/** One year, without `includeSubDomains`: an API does not decide for other hosts of its domain. */
const transportSecurity = 'max-age=31536000'

/**
 * Sets the headers of @fastify/helmet that matter for a JSON API. It omits those for Internet Explorer, origin agent
 * clusters and DNS prefetching. A constant object takes half the CPU time of helmet, which builds it for each request.
 */
async function security(app: FastifyInstance) {
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(securityHeaders)
    // Only a proxy terminates TLS (TRUST_PROXY). Browsers ignore the header over plain HTTP (RFC 6797).
    if (request.protocol === 'https') reply.header('strict-transport-security', transportSecurity)
    done()
  })
}

export default fp(security, { name: 'security' })
