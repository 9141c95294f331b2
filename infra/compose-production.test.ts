import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { findFreePort } from './local/stack.ts'
import { readBlock, readCommands, readSection } from './testing.ts'
import { startPrometheus, useCompose } from './testing-compose.ts'

// `docker compose up` with the production settings of docs/operations.md.

const settings = { NODE_ENV: 'production', AUTH: 'required', POSTGRES_PASSWORD: 'another' }
const compose = await useCompose(({ up }) => up(settings))

it('a request needs a key, and no samples are loaded', async () => {
  expect((await compose.call('/documents')).status).toBe(401)
  const key = (await compose.runSection('Settings')).trim().split('\n').at(-1)
  const answer = await compose.call('/documents', { headers: { authorization: `Bearer ${key}` } })
  expect(await answer.json()).toEqual({ items: [], next: null })
  expect(await compose.queryAsSuperuser('select count(*) from documents')).toBe('0\n')
})

it('Prometheus reads the metrics with the key of an owner without data', async () => {
  const [start = '', makeKey = ''] = readCommands(readSection('Prometheus and Grafana'))
  await compose.sh(makeKey)
  const { remove } = await startPrometheus(compose, `export METRICS_KEY_FILE=./prometheus.key; ${start}`)
  onTestFinished(async () => void (await remove()))
})

it('AUTH=off is rejected with a one-line error', async () => {
  const line = /^AUTH cannot be off with NODE_ENV=production\. Set AUTH=required[^\n]*$/m
  for (const service of ['migrate', 'api'])
    await expect(compose.sh(`AUTH=off docker compose run --rm --no-deps ${service}`)).rejects.toThrow(line)
})

it('uses TLS with the lines of docs/operations.md, and trusts only configured proxies', async () => {
  const section = readSection('TLS in front')
  const site = { SITE_ADDRESS: 'localhost', TRUSTED_PROXIES: 'private_ranges' } // signed by a local authority
  expect(readBlock(section, 'dotenv')).toContain('SITE_ADDRESS=')
  const tlsPort = await findFreePort()
  const override = join(compose.directory, 'docker-compose.override.yml')
  await writeFile(override, readBlock(section, 'yaml').replace('"80:80", "443:443"', `"127.0.0.1:${tlsPort}:443"`))
  onTestFinished(async () => {
    await rm(override) // removed again by the next start
    await compose.configure(settings)
  })
  await compose.up({ ...settings, ...site })
  const security = async (client: typeof http | typeof https, url: string, options: object) => {
    const [response] = await once(client.get(url, options), 'response')
    response.resume()
    return response.headers['strict-transport-security']
  }
  const secure = () => security(https, `https://localhost:${tlsPort}/health/ready`, { rejectUnauthorized: false })
  await expect.poll(() => secure().catch(String)).toBe('max-age=31536000')
  const plain = `${compose.url}/health/ready`
  expect(await security(http, plain, {})).toBeUndefined()
  expect(await security(http, plain, { headers: { 'x-forwarded-proto': 'https' } })).toBe('max-age=31536000')
})

// This test runs last, because it changes the stack's password.
it('the password can be changed with the commands of docs/operations.md', async () => {
  await compose.configure({ ...settings, POSTGRES_PASSWORD: 'changed' })
  await compose.runSection('Changing a password')
  const login = (password: string) =>
    compose.sh(`docker compose exec -T -e PGPASSWORD=${password} pgbouncer psql -U sluice -d sluice -Atc 'select 1'`)
  expect(await login('changed')).toBe('1\n')
  await expect(login('another')).rejects.toThrow('authentication failed')
})
