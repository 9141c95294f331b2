import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TLSSocket } from 'node:tls'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import { forward } from './driver/testing-door.ts'
import { readServer } from './inspect.ts'
import { startQueue } from './queue.ts'
import { createTestDatabase } from './testing.ts'

// A self-signed certificate of localhost, model.example and 127.0.0.1, for tests only. It expires in 2126.
const readPem = (file: string) => readFileSync(new URL(`../../testing/tls/${file}`, import.meta.url), 'utf8')
const certificate = { cert: readPem('certificate.crt'), key: readPem('key.txt') }

const database = await createTestDatabase()
const folder = mkdtempSync(join(tmpdir(), 'sluice-url-'))
const ca = join(folder, 'ca.pem')
writeFileSync(ca, certificate.cert)
const servers: Server[] = []
afterAll(async () => {
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true })
  await database.drop()
})

const { username, password, pathname } = new URL(database.databaseUrl)
const pass = (socket: Socket) =>
  void forward(
    socket.on('error', () => {}),
    database.databaseUrl,
  )

/** Answers the request for TLS as Postgres does, and passes the decrypted bytes to PgBouncer. */
function decrypt(socket: Socket): void {
  socket
    .on('error', () => {})
    .once('data', () => {
      socket.write('S')
      pass(new TLSSocket(socket, { isServer: true, ...certificate }))
    })
}

async function listen(serve: (socket: Socket) => void, path: string | { host: string }): Promise<number> {
  const server = createServer(serve)
  servers.push(server)
  server.listen(typeof path === 'string' ? { path } : { ...path, port: 0 })
  await once(server, 'listening')
  return Number(Object(server.address()).port)
}

const tls = await listen(decrypt, { host: '0.0.0.0' })
const ipv6 = await listen(pass, { host: '::1' })
await listen(pass, join(folder, '.s.PGSQL.5432'))

/** Returns the outcome of both drivers and of the doctor: `ok` or the code of the error. */
async function tryUrl(url: string): Promise<string[]> {
  const { db, close } = connect({ url, poolSize: 1, waitTimeoutMs: 100 })
  const settle = (work: PromiseLike<unknown>) =>
    Promise.resolve(work).then(
      () => 'ok',
      (error) => error.code ?? error.cause?.code ?? error.message,
    )
  const start = async () => (await startQueue(url, () => {})).stop({ graceful: false })
  const inspect = () => readServer({ url, signal: AbortSignal.timeout(60_000) })
  const outcome = [await settle(db.execute(sql`select 1`)), await settle(start()), await settle(inspect())]
  await close()
  return outcome
}

const user = `${username}:${password}`
const encoded = `${username}:${[...password].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join('')}`
const host = new URL(database.databaseUrl).host

describe('each driver connects to a URL with', () => {
  it.each([
    ['an encoded password', `postgres://${encoded}@${host}${pathname}`],
    ['an application name', `${database.databaseUrl}?application_name=my%20app`],
    ['an IPv6 address', `postgresql://${user}@[::1]:${ipv6}${pathname}`],
    ['the folder of a Unix socket', `postgres://${user}@localhost${pathname}?host=${folder}`],
    ['an encoded Unix socket', `postgres://${user}@${encodeURIComponent(folder)}${pathname}`],
    ['TLS', `postgres://${user}@localhost:${tls}${pathname}?sslmode=require`],
    ['a verified certificate', `postgres://${user}@localhost:${tls}${pathname}?sslmode=verify-full&sslrootcert=${ca}`],
    [
      'a certificate of another name',
      `postgres://${user}@127.0.0.2:${tls}${pathname}?sslmode=verify-ca&sslrootcert=${ca}`,
    ],
    ['TLS if the server has it, which this one has not', `${database.databaseUrl}?sslmode=prefer`],
    ['TLS off', `${database.databaseUrl}?sslmode=disable`],
  ])('%s', async (_, url) => {
    expect(await tryUrl(url)).toEqual(['ok', 'ok', 'ok'])
  })
})

it('no driver accepts a certificate that it cannot verify', async () => {
  const outcome = await tryUrl(`postgres://${user}@localhost:${tls}${pathname}?sslmode=verify-full`)
  expect(outcome).toEqual(Array(3).fill('DEPTH_ZERO_SELF_SIGNED_CERT'))
})

it('no driver falls back to a connection without TLS', async () => {
  const outcome = await tryUrl(`${database.databaseUrl}?sslmode=require`)
  expect(outcome).toEqual(['SSL_REFUSED', 'The server does not support SSL connections', 'SSL_REFUSED'])
})

it('the application name of the URL is the one that Postgres shows', async () => {
  const { db, close } = connect({ url: `${database.databaseUrl}?application_name=my%20app`, poolSize: 1 })
  expect(await db.execute(sql`select current_setting('application_name') as name`)).toEqual([{ name: 'my app' }])
  await close()
})
