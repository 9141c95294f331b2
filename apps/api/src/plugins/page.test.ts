import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { brotliCompressSync } from 'node:zlib'
import Fastify from 'fastify'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'
import errors from './error-handler.ts'
import page from './page.ts'
import security from './security.ts'

const folder = mkdtempSync(join(tmpdir(), 'page-'))
afterAll(() => rmSync(folder, { recursive: true }))
mkdirSync(join(folder, 'assets'))
writeFileSync(join(folder, 'index.html'), '<!doctype html><title>The page</title>')
writeFileSync(join(folder, 'assets/main-1.js'), 'let whole')
writeFileSync(join(folder, 'assets/main-1.js.br'), brotliCompressSync('let whole'))

async function open(root: string) {
  const app = Fastify()
  await app.register(security)
  await app.register(errors)
  await app.register(page, { folder: root })
  return app
}

describe('with a built page', async () => {
  const app = await open(folder)

  it('serves it at / with a policy that allows only its own files and this API', async () => {
    const { statusCode, body, headers } = await app.inject('/')
    expect(statusCode).toBe(200)
    expect(body).toContain('The page')
    expect(headers).toMatchObject({ 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' })
    const policy = String(headers['content-security-policy']).split('; ')
    for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"])
      expect(policy).toContain(rule)
    const others = policy.filter((rule) => rule !== "img-src 'self' data:") // attached images
    expect(others.join('; ')).not.toMatch(/unsafe|http|data:|img-src/)
  })

  it('serves precompressed assets that browsers may cache', async () => {
    const { headers, rawPayload } = await app.inject({
      url: '/assets/main-1.js',
      headers: { 'accept-encoding': 'gzip, br' },
    })
    expect(headers).toMatchObject({
      'content-encoding': 'br',
      'content-type': 'application/javascript; charset=utf-8',
      'cache-control': 'public, max-age=31536000, immutable',
      'x-content-type-options': 'nosniff',
    })
    expect(rawPayload).toEqual(brotliCompressSync('let whole'))
    expect((await app.inject('/assets/main-1.js')).body).toBe('let whole')
  })

  it.each(['/assets/none.js', '/assets/', '/assets/../index.html', '/assets/%2e%2e/index.html'])(
    'serves no other file: %s',
    async (url) => {
      const { statusCode, headers } = await app.inject(url)
      expect(statusCode).toBeGreaterThanOrEqual(400)
      expect(statusCode).toBeLessThan(500)
      expect(headers['content-type']).toContain('application/problem+json')
    },
  )
})

it('shows build instructions when the page is not built', async () => {
  const { statusCode, body } = await (await open(join(folder, 'none'))).inject('/')
  expect(statusCode).toBe(200)
  expect(body).toContain('npm run build -w @repo/web')
})

it('serves the page without a key, but not the data it requests', async () => {
  const { app, close } = await testApp()
  expect((await app.inject('/')).statusCode).toBe(200)
  expect((await app.inject('/assets/none.js')).statusCode).toBe(404)
  expect((await app.inject('/conversations')).statusCode).toBe(401)
  await close()
})
