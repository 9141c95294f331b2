import { discoverOAuthProtectedResourceMetadata, extractWWWAuthenticateParams } from '@modelcontextprotocol/client'
import { describe, expect, it, onTestFinished } from 'vitest'
import { testApp } from '../testing.ts'

const JWT_ISSUER = 'https://login.example/'

async function start(environment: Record<string, string>) {
  const { close, listen } = await testApp({ environment })
  onTestFinished(close)
  const url = await listen()
  const challenge = async (path: string) => fetch(`${url}${path}`, { method: 'POST' })
  return { url, challenge }
}

describe('an MCP client without a key', () => {
  it('learns from the challenge which issuer signs in its user', async () => {
    const { url, challenge } = await start({ JWT_ISSUER, JWT_AUDIENCE: 'https://api.example/mcp' })
    const response = await challenge('/mcp')
    expect(response.status).toBe(401)
    const { resourceMetadataUrl } = extractWWWAuthenticateParams(response)
    expect(await discoverOAuthProtectedResourceMetadata(`${url}/mcp`, { resourceMetadataUrl })).toEqual({
      resource: `${url}/mcp`,
      authorization_servers: [JWT_ISSUER],
      bearer_methods_supported: ['header'],
    })
    expect(await discoverOAuthProtectedResourceMetadata(`${url}/mcp`)).toMatchObject({ resource: `${url}/mcp` })
    expect((await challenge('/chat')).headers.get('www-authenticate')).toBe('Bearer')
  })

  it('gets the URL that a trusted proxy reports', async () => {
    const { url } = await start({ JWT_ISSUER, JWT_AUDIENCE: 'a', TRUST_PROXY: 'true' })
    const headers = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'chat.example' }
    const response = await fetch(`${url}/.well-known/oauth-protected-resource/mcp`, { headers })
    expect(await response.json()).toMatchObject({ resource: 'https://chat.example/mcp' })
  })

  it('needs a key without an issuer', async () => {
    const { url, challenge } = await start({})
    expect((await challenge('/mcp')).headers.get('www-authenticate')).toBe('Bearer')
    expect((await fetch(`${url}/.well-known/oauth-protected-resource/mcp`)).status).toBe(404)
  })
})
