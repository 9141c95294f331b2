import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import Fastify from 'fastify'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { registerRoutes } from './app.ts'
import { testApp } from './testing.ts'

async function loadRoutes(files: Record<string, string>) {
  const folder = await mkdtemp(join(tmpdir(), 'routes-'))
  const app = Fastify()
  onTestFinished(() => rm(folder, { recursive: true }))
  for (const [name, source] of Object.entries(files)) await writeFile(join(folder, name), source)
  await registerRoutes(app, pathToFileURL(`${folder}/`))
  return app
}

describe('routes/', () => {
  it('serves a file under its name', async () => {
    const app = await loadRoutes({ 'notes.ts': "export default async (app) => { app.get('', async () => 'a note') }" })
    expect((await app.inject('/notes')).body).toBe('a note')
  })

  it('may hold tests, which are no routes', async () => {
    await expect(loadRoutes({ 'notes.test.ts': "throw new Error('not a route')" })).resolves.toBeDefined()
  })

  it('one clear error names a file that exports no plugin', async () => {
    const message = 'notes.ts in routes/ must export a Fastify plugin: export default async (app) => { … }'
    await expect(loadRoutes({ 'notes.ts': 'export const note = 1' })).rejects.toThrow(message)
    await expect(loadRoutes({ 'notes.ts': 'export default {}' })).rejects.toThrow(message)
  })
})

it('closes although a client has connected and never asks', async () => {
  const { listen, close } = await testApp()
  const socket = connect(Number(new URL(await listen()).port), '127.0.0.1')
  await once(socket, 'connect')
  await close()
  if (!socket.closed) await once(socket, 'close')
})

it('leaves no interval behind when it closes', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  onTestFinished(() => void vi.useRealTimers())
  const { app, close } = await testApp()
  onTestFinished(close)
  expect(vi.getTimerCount()).toBeGreaterThan(0)
  await app.close()
  expect(vi.getTimerCount()).toBe(0)
})

describe('the API’s description', async () => {
  const { app, close } = await testApp()
  afterAll(close)

  it('is OpenAPI 3.1 and open to everybody, like the page that shows it', async () => {
    const description = (await app.inject('/openapi.json')).json()
    expect(description).toMatchObject({ openapi: '3.1.0', info: { title: 'Sluice' } })
    expect((await app.inject('/docs')).statusCode).toBe(200)
  })

  it('has every route, with a summary and its errors', async () => {
    const { paths } = (await app.inject('/openapi.json')).json()
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(Object(methods)).map(([method, operation]) => ({
        name: `${method} ${path}`,
        ...Object(operation),
      })),
    )
    for (const file of readdirSync(new URL('./routes/', import.meta.url)).filter((name) => name.endsWith('.ts'))) {
      const path = `/${file.split('.', 1)[0]}`
      expect(
        Object.keys(paths).some((known) => known.startsWith(path)),
        file,
      ).toBe(true)
    }
    for (const { name, summary, responses } of operations) {
      expect(summary, name).toMatch(/^[A-Z].{5,}/)
      if (name !== 'get /health/live')
        expect(Object.keys(responses), name).toEqual(expect.arrayContaining(['4XX', '5XX']))
    }
  })
})
