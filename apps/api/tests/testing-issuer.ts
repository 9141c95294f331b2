import { once } from 'node:events'
import { createServer } from 'node:http'
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import { afterAll } from 'vitest'

/** Starts an OpenID Connect issuer with one key, until the file's tests have ended. */
export async function startIssuer(audience: string) {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }
  const server = createServer(({ url }, response) => {
    response.end(JSON.stringify(url === '/keys' ? { keys: [jwk] } : { issuer, jwks_uri: `${issuer}/keys` }))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  afterAll(() => server.close().closeAllConnections())
  const address = server.address()
  const issuer = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  return {
    environment: { JWT_ISSUER: issuer, JWT_AUDIENCE: audience },
    /** Returns a token that is valid for five minutes. */
    sign: (sub: string, claims: JWTPayload = {}) =>
      new SignJWT({ iss: issuer, aud: audience, sub, exp: Math.floor(Date.now() / 1000) + 300, ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: 'k' })
        .sign(privateKey),
  }
}
