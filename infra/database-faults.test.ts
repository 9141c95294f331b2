import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { createServer, connect as dial, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres, { type Sql } from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type MockModel, startMockModel } from '../packages/testing/src/mock-model/mock-model.ts'
import { findFreePort } from './local/stack.ts'
import { type Api, createOwner, migrate, startApi } from './testing-apis.ts'
import { ask } from './testing-chats.ts'
import { type BreakableStack, startBreakableStack } from './testing-faults.ts'
import { isAnswered } from './testing-load.ts'

// Each test breaks the database in one way, on a separate stack. The API must say so with its own code, and must serve
// again without a restart once the cause is gone. The API reaches PgBouncer as db.example, through a TCP proxy.

let stack: BreakableStack
let model: MockModel
let api: Api
let client: { headers: { authorization: string } }
let proxy: Server
const directory = join(tmpdir(), `sluice database faults-${process.pid}`)
const addressFile = `${directory}.address`
const clockFile = `${directory}.clock`
writeFileSync(clockFile, '0')

/** Resolves db.example to the address in a file, and steps the clock by the milliseconds in another. */
const hooks = `import dns from 'node:dns'
import { readFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
const lookup = dns.lookup
dns.lookup = (name, options, done) =>
  lookup(name === 'db.example' ? readFileSync(${JSON.stringify(addressFile)}, 'utf8') : name, options, done)
syncBuiltinESMExports()
let offset = 0
setInterval(() => { offset = Number(readFileSync(${JSON.stringify(clockFile)}, 'utf8')) }, 20).unref()
const RealDate = Date
const now = () => RealDate.now() + offset
globalThis.Date = class extends RealDate {
  constructor(...args) { args.length ? super(...args) : super(now()) }
  static now() { return now() }
}`
const NODE_OPTIONS = `--import="data:text/javascript,${encodeURIComponent(hooks)}"`

beforeAll(async () => {
  stack = await startBreakableStack(directory)
  await migrate(stack.directDatabaseUrl)
  client = { headers: await createOwner(stack.databaseUrl, 'alice') }
  model = await startMockModel()
  const port = await findFreePort()
  proxy = await openProxy('127.0.0.2', port)
  const url = new URL(stack.databaseUrl)
  url.host = `db.example:${port}`
  const environment = {
    DATABASE_URL: url.href,
    OPENAI_BASE_URL: model.url,
    NODE_OPTIONS,
    OWNER_REQUESTS_PER_MINUTE: '1000',
  }
  api = await startApi(stack.start, 'api', environment)
})
afterAll(async () => {
  await stack.stop()
  for (const file of [addressFile, clockFile]) rmSync(file, { force: true })
  proxy.close()
  await model.close()
})

/** Opens a TCP proxy to PgBouncer, and makes it the address of db.example. */
async function openProxy(host: string, port: number): Promise<Server> {
  const target = new URL(stack.databaseUrl)
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const onward = dial(Number(target.port), target.hostname)
    socket.pipe(onward).pipe(socket)
    for (const end of [socket, onward]) {
      sockets.add(end)
      end.on('error', () => {}).on('close', () => [socket, onward].map((other) => other.destroy()))
    }
  })
  const close = server.close.bind(server)
  server.close = (done) => {
    for (const socket of sockets) socket.destroy()
    return close(done)
  }
  server.listen(port, host)
  await once(server, 'listening')
  writeFileSync(addressFile, host)
  return server
}

const chat = () => ask(api.url, client, { message: 'Are you back? [mock tokens=1]' })

const readReadiness = async () => (await fetch(`${api.url}/health/ready`)).status

async function readRefusal() {
  const headers = { ...client.headers, 'content-type': 'application/json' }
  const body = JSON.stringify({ message: 'Is it broken? [mock tokens=1]' })
  const response = await fetch(`${api.url}/chat`, { method: 'POST', headers, body })
  const text = await response.text()
  const code = response.ok ? undefined : JSON.parse(text).code
  return { status: response.status, code, retry: Number(response.headers.get('retry-after') ?? 0) > 0 }
}

/** Waits until chats are refused with the code, and readiness is as given. Any other failure fails the test. */
async function expectRefusal(code: string, isReady = false) {
  await expect.poll(readRefusal).toEqual({ status: 503, code, retry: true })
  await expect.poll(readReadiness).toBe(isReady ? 200 : 503)
}

async function expectRecovery() {
  await expect.poll(readReadiness).toBe(200)
  await expect.poll(async () => isAnswered(await chat())).toBe(true)
  for (let count = 0; count < 5; count += 1) expect(isAnswered(await chat())).toBe(true)
}

const terminateOthers = (sql: Sql) => sql`
  select pg_terminate_backend(pid) from pg_stat_activity where usename = current_user and pid <> pg_backend_pid()`

type Fault = { name: string; code: string; isReady?: boolean; strike: (hold: () => Promise<void>) => Promise<unknown> }

/** `strike` breaks the database, awaits `hold`, and removes the cause. */
const faults: Fault[] = [
  {
    name: 'a primary that became read-only, while the old connections stay open',
    code: 'database_read_only',
    strike: (hold) =>
      stack.inDatabase(async (sql) => {
        await sql`alter database sluice set default_transaction_read_only = on`
        await terminateOthers(sql)
        await hold()
        await sql`alter database sluice reset default_transaction_read_only` // of new connections only
      }),
  },
  {
    name: 'a full disk',
    code: 'database_full',
    isReady: true, // stored answers can be read
    strike: (hold) =>
      stack.inDatabase(async (sql) => {
        await sql`create function fail() returns trigger language plpgsql as
          $$ begin raise 'could not extend file' using errcode = '53100'; end $$`
        await sql`create trigger full_disk before insert on messages execute function fail()`
        await hold()
        await sql`drop function fail cascade`
      }),
  },
  {
    name: 'a locked table',
    code: 'database_locked',
    isReady: true,
    strike: (hold) =>
      stack.inDatabase((sql) =>
        sql.begin(async (tx) => {
          await tx`set local idle_in_transaction_session_timeout = 0`
          await tx`lock table messages in access exclusive mode`
          await hold()
        }),
      ),
  },
  {
    name: 'too many connections to Postgres',
    code: 'database_overloaded',
    strike: (hold) =>
      stack.inDatabase(async (sql) => {
        await sql`alter database sluice connection limit 0`
        await terminateOthers(sql)
        await hold()
        await sql`alter database sluice connection limit -1`
      }),
  },
  {
    name: 'a password changed while the API runs',
    code: 'database_login_failed',
    strike: (hold) =>
      stack.inDatabase(async (sql) => {
        await sql`alter role sluice password 'another'`
        await terminateOthers(sql)
        await hold()
        await sql.unsafe(`alter role sluice password '${new URL(stack.databaseUrl).password}'`)
      }),
  },
  {
    name: 'a pooler whose database is down',
    code: 'database_unavailable',
    strike: async (hold) => {
      await stack.stopPostgres()
      await hold()
      stack.startPostgres()
    },
  },
  {
    name: 'a pooler restarted with a lower limit of clients',
    code: 'database_overloaded',
    strike: async (hold) => {
      const { port } = Object(proxy.address())
      proxy.close() // so that the API cannot take the only connection
      await stack.restartPgbouncer({ max_client_conn: 1 })
      const only = postgres(stack.databaseUrl, { max: 1, fetch_types: false })
      const isServed = () => only`select 1`.catch(() => [])
      await expect.poll(isServed).toHaveLength(1)
      proxy = await openProxy('127.0.0.2', port)
      await hold()
      await only.end()
      await stack.restartPgbouncer({ max_client_conn: 5000 })
    },
  },
  {
    name: 'a name that moves to another address',
    code: 'database_unavailable',
    strike: async (hold) => {
      const { port } = Object(proxy.address())
      proxy.close()
      await hold()
      proxy = await openProxy('127.0.0.3', port)
    },
  },
]

describe('a clock that is stepped by an hour', () => {
  const list = async (cursor?: string) => {
    const query = new URLSearchParams({ limit: '1', ...(cursor && { after: cursor }) })
    const response = await fetch(`${api.url}/conversations?${query}`, { headers: client.headers })
    return Object(await response.json())
  }

  it.each([3_600_000, 0, -3_600_000, 0])(
    'to %i ms from the real time ends no answer and invalidates no cursor',
    async (offset) => {
      await expectRecovery()
      const { next } = await list()
      const reading = { text: '' }
      const answer = ask(api.url, client, { message: 'Go on [mock tokens=100 interval=30]' }, reading)
      await expect.poll(() => reading.text).not.toBe('')
      writeFileSync(clockFile, `${offset}`)
      expect(isAnswered(await answer)).toBe(true)
      expect((await list(next)).items).toHaveLength(1)
      await expectRecovery()
    },
  )
})

describe.each(faults)('$name', ({ code, isReady, strike }) => {
  it('is reported with its own code, and service recovers by itself', async () => {
    await expectRecovery()
    const pid = stack.findPid('api')
    const outcome = Promise.withResolvers<void>()
    await strike(() => expectRefusal(code, isReady).then(outcome.resolve, outcome.reject))
    await outcome.promise
    await expectRecovery()
    expect(stack.findPid('api')).toBe(pid)
  })
})
