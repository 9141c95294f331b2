import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { makeDocx, makePdfWithCmap } from '../packages/testing/src/files.ts'
import { mockAnswer, startMockModel } from '../packages/testing/src/mock-model/mock-model.ts'
import { askAsTheReadmeDoes, expectReadmeAnswers, readCommands, readSection } from './testing.ts'
import { ask, type Reading } from './testing-chats.ts'
import { startPrometheus, useCompose } from './testing-compose.ts'

// `docker compose up` without any settings, and at the end with a model.

let startedAt = 0
const compose = await useCompose(async ({ up }) => {
  startedAt = performance.now()
  await up()
})
const secondsSinceStart = () => ((performance.now() - startedAt) / 1000).toFixed(1)

const keepConversation = async (conversationId: string) => {
  await (await compose.post('/chat', { message: 'When does the office open?', conversationId })).text()
  const stored = await compose.readStored(conversationId)
  expect(stored).toMatchObject({ status: 'complete' })
  return stored
}

it('a newcomer gets the answers that the README promises', async ({ annotate }) => {
  const healthy = secondsSinceStart()
  expectReadmeAnswers(await askAsTheReadmeDoes(compose.port))
  await annotate(`docker compose up: healthy after ${healthy} s, the README's answers after ${secondsSinceStart()} s`)
})

it("the API's role owns its database and has no other privileges", async () => {
  const role =
    "select rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls from pg_roles where rolname = 'sluice'"
  expect(await compose.queryAsSuperuser(role)).toBe('f|f|f|f|f\n')
  const owner =
    "select datdba::regrole, datlocprovider, datlocale, current_setting('data_checksums') from pg_database where datname = 'sluice'"
  expect(await compose.queryAsSuperuser(owner)).toBe('sluice|b|C.UTF-8|on\n')
})

it('the superuser cannot log in over any network', async () => {
  for (const host of ['postgres:5432', '127.0.0.1:6432']) {
    const url = `postgres://postgres:$POSTGRES_PASSWORD@${host}/sluice`
    const attempt = compose.sh(`docker compose exec -T pgbouncer sh -c 'psql "${url}" -c "select 1"'`)
    await expect(attempt).rejects.toThrow('authentication failed')
  }
})

it('the image contains no sources, and only the static files of one package', async () => {
  const glob = (pattern: string) =>
    compose.sh(`docker compose exec -T api node -p "fs.globSync('${pattern}').join()" 2>&-`)
  expect(await glob('**/*.ts')).toBe('\n')
  expect(await glob('node_modules/*/*/*')).toBe('node_modules/@fastify/swagger-ui/static\n')
})

it('the image has no shell and no package manager, and is smaller than 250 MB', async () => {
  for (const program of ['sh', 'bash', 'busybox', 'npm', 'apt-get'])
    expect(await compose.sh(`docker compose exec -T api ${program} -c id 2>&1 || true`)).toContain('not found')
  const size = await compose.sh(`docker image inspect --format '{{.Size}}' "$COMPOSE_PROJECT_NAME-api"`)
  expect(Number(size)).toBeLessThan(250e6)
})

it.each([
  ['a PDF that needs a character map', makePdfWithCmap('Japan1', '90ms-RKSJ-H', Buffer.from('8d6082cc92aa', 'hex'))],
  ['a Word document', makeDocx(['The solstice is long.'])],
  ['a page', Buffer.from('<!doctype html><html><body>The perigee is near.</body></html>')],
])('the worker reads %s', async (_, bytes) => {
  const body = new FormData()
  body.append('file', new File([new Uint8Array(bytes)], 'file'))
  const { id } = JSON.parse(await (await compose.call('/documents', { method: 'POST', body })).text())
  const read = async () => JSON.parse(await (await compose.call(`/documents/${id}`)).text())
  await expect.poll(read).toMatchObject({ status: 'ready', error: null })
})

it('the API reads a large JSON body', async () => {
  const { status } = await compose.post('/documents', { title: 'large', text: 'The gantry is tall. '.repeat(10_000) })
  expect(status).toBe(202)
})

it('a second migration changes nothing', async () => {
  expect(await compose.sh('docker compose run --rm migrate')).toContain('up to date')
})

it('an operator sees the metrics to watch', async () => {
  await (await compose.call('/conversations')).text() // writes one log line
  const output = await compose.runSection('What to watch')
  for (const word of ['cl_waiting', 'maxwait', 'sv_active', 'longest', 'Use%', 'pg_size_pretty', 'CPU %', 'durationMs'])
    expect(output).toContain(word)
})

it('Prometheus reads the metrics and loads the rules', async () => {
  const [start = ''] = readCommands(readSection('Prometheus and Grafana'))
  const { query, remove } = await startPrometheus(compose, start)
  onTestFinished(async () => void (await remove()))
  expect(await query('max(sluice_pgbouncer_pool_size)')).toMatch(/=> 20 @/)
  expect(await query('sum(sluice_processes)')).toMatch(/=> 1 @/)
  const rules = JSON.parse(await (await fetch(`http://127.0.0.1:${compose.prometheusPort}/api/v1/rules`)).text())
  const [{ rules: loaded }] = rules.data.groups
  const alerts = readFileSync(new URL('observability/alerts.yml', import.meta.url), 'utf8').match(/- alert: /g)
  expect(loaded).toHaveLength(alerts?.length ?? 0)
  expect(loaded.filter(({ health }: { health: string }) => health === 'err')).toEqual([])
})

it('Grafana shows the dashboard with the data of Prometheus', async ({ skip }) => {
  const canPull = compose.sh('docker compose --profile grafana pull --policy missing grafana').then(
    () => true,
    () => false,
  )
  skip(!(await canPull), 'the image of Grafana cannot be pulled on this machine')
  const [, , start = ''] = readCommands(readSection('Prometheus and Grafana'))
  const { remove } = await startPrometheus(compose, start)
  onTestFinished(async () => void (await remove()))
  const read = async (path: string) => (await fetch(`http://127.0.0.1:${compose.grafanaPort}/api/${path}`)).json()
  expect(await read('dashboards/uid/sluice')).toMatchObject({ dashboard: { title: 'Sluice' } })
  const sum = 'datasources/proxy/uid/prometheus/api/v1/query?query=sum(sluice_processes)'
  expect(await read(sum)).toMatchObject({ data: { result: [{ value: [expect.any(Number), '1'] }] } })
})

it('Postgres restarts with more memory, and the API becomes ready again', async () => {
  await compose.runSection('Pool sizes')
  expect(await compose.queryAsSuperuser('show shared_buffers')).toBe('1GB\n')
  await compose.becomeReady()
})

it('PgBouncer passes its health check while Postgres is away, so that `up --wait` can replace Postgres', async () => {
  const container = (await compose.sh('docker compose ps --quiet pgbouncer')).trim()
  const check = await compose.sh(`docker inspect --format '{{index .Config.Healthcheck.Test 1}}' ${container}`)
  await compose.sh('docker compose stop postgres')
  try {
    expect(await compose.sh(`docker compose exec -T pgbouncer sh -c '${check.trim()}'`)).toContain('PgBouncer')
  } finally {
    await compose.sh('docker compose start postgres')
    await compose.becomeReady()
  }
})

it('`docker compose watch` applies a changed source file', async () => {
  const watch = compose.start('watch', '--no-up')
  onTestFinished(watch.stop)
  await expect.poll(watch.readOutput).toContain('Watch enabled')
  const route = "export default async (app) => { app.get('', async () => 'written while it runs') }\n"
  await writeFile(join(compose.directory, 'apps/api/src/routes/watched.ts'), route)
  await expect
    .poll(() => compose.call('/watched').then((response) => response.text(), String), { timeout: 600_000 }) // builds
    .toBe('written while it runs')
})

it('conversations survive `down` and `up`', async () => {
  const before = await keepConversation('kept')
  await compose.sh('docker compose down')
  await compose.up()
  expect(await compose.readStored('kept')).toEqual(before)
})

it('the backup from docs/operations.md has every row, and restores the moment before rows were deleted', async ({
  annotate,
}) => {
  const [backup = '', check = '', restore = ''] = readCommands(readSection('Backup and restore'))
  const readRows = async () =>
    (await compose.sh('docker compose exec -T postgres backup rows')).split('\n').filter((row) => !/^pgboss/.test(row))
  await compose.up({ WAL_ARCHIVE: 'on' })
  await compose.sh(backup)
  const before = await keepConversation('backed-up') // after the full backup, so only the archived log contains it
  await compose.sh('docker compose stop api worker') // which also write while nobody asks
  const checked = await compose.sh(check)
  expect(checked).toContain('every row is equal')
  await annotate(checked.match(/^\d+ s for .*$/m)?.[0] ?? '')
  const rows = await readRows()
  expect(rows.length).toBeGreaterThan(10)

  const time = (await compose.queryAsSuperuser("select date_trunc('second', now()) + interval '1 s'")).trim()
  await expect.poll(() => compose.queryAsSuperuser(`select now() > '${time}'`)).toBe('t\n')
  await compose.queryAsSuperuser('delete from conversations; update documents set title = md5(title)')
  await compose.queryAsSuperuser('select pg_switch_wal()')
  expect(await readRows()).not.toEqual(rows)
  await expect(compose.sh(`${restore} 2020-01-01`)).rejects.toThrow(/No backup is old enough/)
  await compose.sh(`${restore} '${time}'`)
  expect(await readRows()).toEqual(rows)
  expect(await compose.readStored('backed-up')).toEqual(before)
})

describe('`docker compose stop` while an answer is running', async () => {
  const model = await startMockModel({ host: '0.0.0.0' }) // containers use another address of this machine
  afterAll(model.close)
  const mock = { OPENAI_BASE_URL: model.url.replace('127.0.0.1', 'host.docker.internal'), CHAT_MODEL: 'mock' }

  /** Asks a question and stops one service, or all of them, when the answer has begun. Starts them again afterwards. */
  async function stopInMidAnswer(service: string, conversationId: string, message: string) {
    const reading: Reading = { text: '' }
    const answer = ask(compose.url, { headers: {} }, { message, conversationId }, reading)
    await expect.poll(() => reading.text).not.toBe('')
    const stopsAt = performance.now()
    await compose.sh(`docker compose stop ${service}`)
    const seconds = ((performance.now() - stopsAt) / 1000).toFixed(1)
    const exitCode = (await compose.sh("docker compose ps --all --format '{{.ExitCode}}' api")).trim()
    await answer
    await compose.sh(`docker compose start ${service}`)
    await compose.becomeReady()
    return { ...reading, exitCode, seconds, stored: await compose.readStored(conversationId) }
  }

  it('completes it', async ({ annotate }) => {
    const question = '[mock tokens=100 interval=50] Tell me more.'
    await compose.up(mock)
    const { text, end, failure, exitCode, seconds, stored } = await stopInMidAnswer('', 'drained', question)
    expect({ failure, end, exitCode }).toEqual({ failure: undefined, end: 'complete', exitCode: '0' })
    expect(text).toBe(mockAnswer(question, 100))
    expect(stored).toMatchObject({ status: 'complete', content: text })
    await annotate(`docker compose stop in an answer of 5 s: ${seconds} s, exit code 0, 100 of 100 tokens, stored`)
  })

  it('interrupts it after DRAIN_TIMEOUT_MS, and informs its reader', async () => {
    const question = '[mock tokens=100000 interval=50] Tell me all.' // over an hour
    await compose.up({ ...mock, DRAIN_TIMEOUT_MS: '500' })
    const { text, end, failure, exitCode, stored } = await stopInMidAnswer('api', 'interrupted', question)
    expect({ failure, end, exitCode }).toEqual({ failure: undefined, end: 'interrupted', exitCode: '0' })
    expect(stored.status).toBe('interrupted')
    expect(stored.content).not.toBe('')
    expect(text.startsWith(stored.content)).toBe(true)
  })
})
