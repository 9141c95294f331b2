import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { findFreePort } from './local/stack.ts'
import {
  askAsTheReadmeDoes,
  execute,
  expectReadmeAnswers,
  isFull,
  readAnswer,
  readBlock,
  readCommands,
  readSection,
  whyNotFull,
} from './testing.ts'
import { type ComposeProject, createComposeProject, hasEngine } from './testing-compose.ts'

/** A Postgres with TLS that knows nothing of this project, as the service `provider` behind a name of its own. */
const provider = `
  provider:
    image: pgvector/pgvector:pg18-trixie
    networks: { default: { aliases: [db.example.com] } }
    environment: { POSTGRES_PASSWORD: anything }
    volumes: ["./ca.pem:/ca.pem:ro", "./key.pem:/key.pem:ro"]
    entrypoint: [sh, -c, "install -m 600 -o postgres /key.pem /tmp/ && exec docker-entrypoint.sh postgres -cssl=on -cssl_cert_file=/ca.pem -cssl_key_file=/tmp/key.pem"]
    healthcheck: { test: [CMD, pg_isready, -h, 127.0.0.1], interval: 1s, retries: 30 }
`
const makeCertificate =
  'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=db.example.com ' +
  '-addext subjectAltName=DNS:db.example.com -keyout key.pem -out ca.pem 2>&1'

// One stack for all of these, in this order; each leaves it running.
describe('the stack in containers', { timeout: 120_000 }, () => {
  const mock = { OPENAI_BASE_URL: 'http://127.0.0.1:4010/v1', CHAT_MODEL: 'mock' }
  const asSuperuser = 'docker compose exec -T postgres psql -U postgres sluice -At'
  let canRun = false
  let compose: ComposeProject
  let startedAt = 0

  beforeAll(async () => {
    canRun = isFull && (await hasEngine())
    if (!canRun) return
    compose = await createComposeProject()
    startedAt = performance.now()
    await compose.up()
  }, 600_000)

  beforeEach((context) => {
    context.skip(!isFull, whyNotFull)
    context.skip(!canRun, 'no Docker engine with Compose answers on this machine')
  })

  afterAll(async () => compose?.remove(), 120_000)

  const call = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${compose.port}${path}`, init)
  const post = (path: string, body: object) =>
    call(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  const readConversation = async (id: string) => {
    const { messages } = JSON.parse(await (await call(`/conversations/${id}`)).text())
    return messages.at(-1)
  }
  const becomeReady = () =>
    expect.poll(() => call('/health/ready').then(({ status }) => status, String), { timeout: 30_000 }).toBe(200)
  /** Runs the commands of a section of docs/deployment.md or docs/operations.md. */
  const run = (heading: string) => compose.sh(readCommands(readSection(heading)).join('\n'))
  const query = (expression: string) =>
    compose.sh(`docker compose exec -T prometheus promtool query instant http://localhost:9090 '${expression}'`)
  const becomeScraped = () =>
    expect
      .poll(() => query('up'), { timeout: 45_000, interval: 1000 })
      .toMatch(/^up\{instance="[\d.]+:3000", job="sluice-api"\} => 1 @/m)
  const removePrometheus = 'docker compose rm --stop --force prometheus'
  const secondsSince = (start: number) => ((performance.now() - start) / 1000).toFixed(1)

  /** Asks the mock model, which runs inside the API's container, and stops a service in the middle of the answer, or all of them. */
  async function stopInMidAnswer(service: string, id: string, settings: Record<string, string>) {
    await compose.up({ ...mock, ...settings })
    await compose.sh('docker compose exec -T --detach -e PORT=4010 api node packages/testing/src/mock-model/server.ts')
    await compose.sh('docker compose exec -T api bash -c "until </dev/tcp/127.0.0.1/4010; do sleep 0.1; done" 2>&1')
    const response = await post('/chat', { message: '[mock tokens=100 interval=50] Tell me more.', conversationId: id })
    expect(response.status).toBe(200)
    const body = response.text()
    await sleep(1000)
    const start = performance.now()
    await compose.sh(`docker compose stop ${service}`)
    const seconds = secondsSince(start)
    const exitCode = (await compose.sh("docker compose ps --all --format '{{.ExitCode}}' api")).trim()
    await compose.sh(`docker compose start ${service}`)
    await becomeReady()
    return { body: await body, exitCode, seconds, stored: await readConversation(id) }
  }

  it('answers a newcomer as the README promises', async ({ annotate }) => {
    const healthy = secondsSince(startedAt)
    expectReadmeAnswers(await askAsTheReadmeDoes(compose.port))
    await annotate(
      `docker compose up: healthy after ${healthy} s, the README's answers after ${secondsSince(startedAt)} s`,
    )
  })

  it('gives the API a role that owns its database and may do nothing else', async () => {
    const role =
      "select rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls from pg_roles where rolname = 'sluice'"
    expect(await compose.sh(`${asSuperuser} -c "${role}"`)).toBe('f|f|f|f|f\n')
    const owner =
      "select datdba::regrole, datlocprovider, datlocale, current_setting('data_checksums') from pg_database where datname = 'sluice'"
    expect(await compose.sh(`${asSuperuser} -c "${owner}"`)).toBe('sluice|b|C.UTF-8|on\n')
  })

  it('lets the superuser in through no network', async () => {
    for (const host of ['postgres:5432', '127.0.0.1:6432']) {
      const url = `postgres://postgres:$POSTGRES_PASSWORD@${host}/sluice`
      const attempt = compose.sh(`docker compose exec -T pgbouncer sh -c 'psql "${url}" -c "select 1"'`)
      await expect(attempt).rejects.toThrow('authentication failed')
    }
  })

  it('migrates again while it runs', async () => {
    expect(await compose.sh('docker compose run --rm migrate')).toContain('up to date')
  })

  it('shows an operator what to watch', async () => {
    const output = await run('What to watch')
    for (const word of [
      'cl_waiting',
      'maxwait',
      'sv_active',
      'longest',
      'Use%',
      'pg_size_pretty',
      'CPU %',
      'durationMs',
    ])
      expect(output).toContain(word)
  })

  it('is watched by Prometheus, with rules that are loaded', async () => {
    const [start = ''] = readCommands(readSection('Prometheus and Grafana'))
    await compose.sh(start)
    try {
      await becomeScraped()
      expect(await query('max(sluice_pgbouncer_pool_size)')).toMatch(/=> 20 @/)
      expect(await query('sum(sluice_processes)')).toMatch(/=> 1 @/)
      const rules = JSON.parse(await (await fetch(`http://127.0.0.1:${compose.prometheusPort}/api/v1/rules`)).text())
      const [{ rules: loaded }] = rules.data.groups
      expect(loaded.length).toBe(12)
      expect(loaded.filter(({ health }: { health: string }) => health === 'err')).toEqual([])
    } finally {
      await compose.sh(removePrometheus)
    }
  })

  it('survives a restart of Postgres with more memory', async () => {
    await run('Pool sizes')
    expect(await compose.sh(`${asSuperuser} -c 'show shared_buffers'`)).toBe('1GB\n')
    await becomeReady()
  })

  it('has the conversations after `down` and `up`', async () => {
    await (await post('/chat', { message: 'When does the office open?', conversationId: 'kept' })).text()
    const before = await readConversation('kept')
    await compose.sh('docker compose down')
    await compose.up()
    expect(await readConversation('kept')).toEqual(before)
    expect(before).toMatchObject({ status: 'complete', content: expect.stringContaining('nine') })
  })

  it('has them after the backup and the restore of docs/operations.md', async () => {
    const before = await readConversation('kept')
    await run('Backup and restore')
    expect(await readConversation('kept')).toEqual(before)
    const found = JSON.parse(await (await call('/search?q=office')).text())
    expect(found.items).toEqual(expect.arrayContaining([expect.objectContaining({ title: 'Office' })]))
  })

  it('lets an answer end when it is stopped in the middle of it', async ({ annotate }) => {
    const { body, exitCode, seconds, stored } = await stopInMidAnswer('', 'drained', {})
    expect(body).toMatch(/data: \{"type":"finish".*\}\n\ndata: \[DONE\]\n\n$/)
    expect(body.match(/"type":"text-delta"/g)?.length).toBe(100)
    expect(stored).toMatchObject({ status: 'complete', content: readAnswer(body) })
    expect(exitCode).toBe('0')
    await annotate(`docker compose stop in an answer of 5 s: ${seconds} s, exit code 0, 100 of 100 tokens, stored`)
  })

  it('says that an answer was interrupted when that takes longer than DRAIN_TIMEOUT_MS', async () => {
    const { body, exitCode, stored } = await stopInMidAnswer('api', 'interrupted', { DRAIN_TIMEOUT_MS: '500' })
    expect(body).toContain('{"type":"abort","reason":"interrupted"}')
    expect(body.endsWith('data: [DONE]\n\n')).toBe(true)
    expect(stored.status).toBe('interrupted')
    expect(stored.content.length).toBeGreaterThan(0)
    expect(readAnswer(body).startsWith(stored.content)).toBe(true)
    expect(exitCode).toBe('0')
  })

  it('has a changed source within seconds under `docker compose watch`', async () => {
    const watch = compose.start('watch', '--no-up')
    await expect.poll(watch.readOutput, { timeout: 20_000 }).toContain('Watch enabled')
    const route = "export default async (app) => { app.get('', async () => 'written while it runs') }\n"
    await writeFile(join(compose.directory, 'apps/api/src/routes/watched.ts'), route)
    await expect
      .poll(() => call('/watched').then((response) => response.text(), String), { timeout: 60_000 })
      .toBe('written while it runs')
    await watch.stop()
  })

  it('takes another password with the commands of docs/operations.md', async () => {
    await compose.sh(`${asSuperuser} -c "delete from documents"`)
    const production = 'NODE_ENV=production\nAUTH=required\nPOSTGRES_PASSWORD=another\n'
    await writeFile(join(compose.directory, '.env'), production)
    await run('Changing a password')
    const login = (password: string) =>
      compose.sh(`docker compose exec -T -e PGPASSWORD=${password} pgbouncer psql -U sluice -d sluice -Atc 'select 1'`)
    expect(await login('another')).toBe('1\n')
    await expect(login('sluice')).rejects.toThrow('authentication failed')
  })

  it('asks for a key then, as AUTH=required says, and has loaded no samples', async () => {
    expect((await call('/documents')).status).toBe(401)
    const key = (await run('Settings')).trim().split('\n').at(-1)
    const answer = await call('/documents', { headers: { authorization: `Bearer ${key}` } })
    expect(await answer.json()).toEqual({ items: [], next: null })
    expect(await compose.sh(`${asSuperuser} -c "select count(*) from documents"`)).toBe('0\n')
  })

  it('is watched with a key then, of an owner that has nothing', async () => {
    const [start = '', makeKey = ''] = readCommands(readSection('Prometheus and Grafana'))
    await compose.sh(makeKey)
    await compose.sh(`export METRICS_KEY_FILE=./prometheus.key; ${start}`)
    try {
      await becomeScraped()
    } finally {
      await compose.sh(removePrometheus)
    }
  })

  it('is refused with one clear line when it shall be open in production', async () => {
    await writeFile(join(compose.directory, '.env'), 'NODE_ENV=production\nPOSTGRES_PASSWORD=another\n')
    const line = /^AUTH cannot be off under NODE_ENV=production: set AUTH=required[^\n]*$/m
    for (const service of ['migrate', 'api'])
      await expect(compose.sh(`docker compose run --rm --no-deps ${service}`)).rejects.toThrow(line)
  })

  it('speaks TLS with the lines of docs/deployment.md, and believes whom it is told to', async () => {
    const section = readSection('TLS in front')
    const site = readBlock(section, 'dotenv').replace('chat.example.com', 'localhost') // signed by an authority of its own
    const settings = `NODE_ENV=production\nAUTH=required\nPOSTGRES_PASSWORD=another\nTRUSTED_PROXIES=private_ranges\n`
    await writeFile(join(compose.directory, '.env'), settings + site)
    const tlsPort = await findFreePort()
    const override = readBlock(section, 'yaml').replace('"80:80", "443:443"', `"127.0.0.1:${tlsPort}:443"`)
    await writeFile(join(compose.directory, 'docker-compose.override.yml'), override)
    await compose.sh('docker compose up --detach --wait')
    const security = async (client: typeof http | typeof https, url: string, options: object) => {
      const [response] = await once(client.get(url, options), 'response')
      response.resume()
      return response.headers['strict-transport-security']
    }
    const secure = () => security(https, `https://localhost:${tlsPort}/health/ready`, { rejectUnauthorized: false })
    await expect.poll(() => secure().catch(String), { timeout: 20_000 }).toBe('max-age=31536000')
    const plain = `http://127.0.0.1:${compose.port}/health/ready`
    expect(await security(http, plain, {})).toBeUndefined()
    expect(await security(http, plain, { headers: { 'x-forwarded-proto': 'https' } })).toBe('max-age=31536000')
  })

  it('runs on a Postgres elsewhere, whose certificate it checks', async (context) => {
    const hasOpenssl = await execute('openssl', ['version']).then(
      () => true,
      () => false,
    )
    context.skip(!hasOpenssl, 'no openssl to make a certificate with')
    await compose.sh('docker compose down')
    await compose.sh(makeCertificate)
    const override = readBlock(readSection('Another Postgres'), 'yaml') + provider
    await writeFile(join(compose.directory, 'docker-compose.override.yml'), override)
    await compose.sh('docker compose up --detach --wait provider')
    await writeFile(
      join(compose.directory, 'provider.sql'),
      readBlock(readSection('Another Postgres'), 'sql').replace('…', 'theirs'),
    )
    await compose.sh('docker compose exec -T provider psql -U postgres -v ON_ERROR_STOP=1 <provider.sql')
    const lines = readBlock(readSection('Another Postgres'), 'dotenv').trim().split('\n')
    const settings = Object.fromEntries(lines.map((line) => line.split('=')))
    await compose.up({ ...settings, POSTGRES_PASSWORD: 'theirs' })
    const stranger = compose.sh('docker compose run --rm -e NODE_EXTRA_CA_CERTS= migrate')
    await expect(stranger).rejects.toThrow('self-signed certificate')
    expect((await call('/search?q=office')).status).toBe(200)
    const servers = await compose.sh("docker compose exec -T pgbouncer psql -At -c 'show servers'")
    expect(servers).toMatch(/TLSv1\.3/)
  })
})
