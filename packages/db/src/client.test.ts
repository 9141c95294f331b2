import type { Socket } from 'node:net'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import { forward, openDoor } from './driver/testing-door.ts'
import { describeDatabaseError } from './errors.ts'
import { conversations } from './schema.ts'
import { createStore, type Store } from './store.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close, ping } = connect({ url: database.databaseUrl, poolSize: 1, applicationName: 'client test' })

afterAll(async () => {
  await close()
  await database.drop()
})

let made = 0

/** Runs the frequent statements of one chat. */
async function chat(store: Store, owner: string) {
  const id = ++made
  const turn = { conversationId: `c${id}`, title: '', questionId: `q${id}`, question: 'When?', answerId: `a${id}` }
  const end = {
    sources: [],
    finishReason: null,
    inputTokens: null,
    outputTokens: null,
    cachedTokens: null,
    error: null,
  }
  await store.turns.open(owner, turn)
  await store.passages.search(owner, {
    text: 'When?',
    embedding: JSON.stringify([1, 2]),
    embeddingModel: 'tiny',
    limit: 5,
  })
  await store.turns.history(owner, turn.conversationId, turn.questionId, 10)
  expect(
    await store.answers.finish(owner, turn, {
      ...end,
      status: 'complete',
      parts: [{ type: 'text', text: `answer ${id}` }],
    }),
  ).toBe(true)
  const messages = [{ content: `answer ${id}` }, { content: 'When?' }]
  const conversation = { id: turn.conversationId, messages }
  expect(await store.conversations.read(owner, turn.conversationId, 10)).toMatchObject(conversation)
}

describe('prepared statements through PgBouncer', () => {
  it('are named: the server parses a frequent query once', async () => {
    const store = createStore(db)
    const owner = await store.owners.ensure('ada')
    for (let n = 0; n < 5; n++) await chat(store, owner)
    // One client uses one server connection, so these are its statements.
    const rows = await db.execute<{ statement: string; uses: number }>(sql`
      select statement, (generic_plans + custom_plans)::int as uses from pg_prepared_statements`)
    for (const hot of [
      /^with "conversation" as \(insert into "conversations"/,
      /^select .*"start".* from \(select/,
      /^with "removed_pieces" as \(delete .* update "messages" set "content"/,
      /^select .*by_words/s,
      /^select .* from "conversations" left join "messages"/s,
    ]) {
      expect(
        rows.filter(({ statement }) => hot.test(statement)),
        String(hot),
      ).toMatchObject([{ uses: 5 }])
    }
  })

  it('work when several processes share fewer server connections than there are clients', async () => {
    const waitTimeoutMs = 600_000 // 300 transactions share 50 places, which takes long on a busy machine
    const pools = [1, 2].map(() => connect({ url: database.databaseUrl, poolSize: 25, waitTimeoutMs }))
    const stores = pools.map((pool) => createStore(pool.db))
    const owners = await Promise.all(stores.map((store, n) => store.owners.ensure(`process ${n}`)))
    const backends = new Set<number>()
    const work = Array.from({ length: 300 }, async (_, n) => {
      const [pool, store, owner] = [pools[n % 2], stores[n % 2], owners[n % 2]]
      if (!pool || !store || !owner) throw new Error('unreachable')
      if (n % 3 > 0) return chat(store, owner)
      await pool.db.transaction(async (tx) => {
        await tx.insert(conversations).values({ ownerId: owner, id: `t${n}`, title: '' })
        const [row] = await tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`)
        if (row) backends.add(row.pid)
      })
    })
    const failures = (await Promise.allSettled(work)).filter(({ status }) => status === 'rejected')
    expect(failures).toEqual([])
    expect(backends.size).toBeGreaterThan(1)
    expect(backends.size).toBeLessThan(50)
    await Promise.all(pools.map((pool) => pool.close()))
  })
})

it('sends its application name to the database', async () => {
  const [row] = await db.execute(sql`select current_setting('application_name') as name`)
  expect(row).toEqual({ name: 'client test' })
})

describe('ping', () => {
  it('resolves when the database responds', async () => {
    await expect(ping(5000)).resolves.toBeUndefined()
  })

  it('rejects in time when the server accepts connections but does not respond', async () => {
    const server = await openDoor(() => {})
    const silent = connect({ url: urlAt(server.port), poolSize: 1, waitTimeoutMs: 100 })
    await expect(silent.ping(50)).rejects.toThrow('no response within 50 ms')
    await server.close()
    await expect(silent.ping(5000)).rejects.toThrow('Failed query')
    await silent.close()
  })
})

it('reconnects soon after a long outage', async () => {
  const serve = (socket: Socket) => void forward(socket, database.databaseUrl)
  const before = await openDoor(serve)
  const client = connect({ url: urlAt(before.port), poolSize: 1, waitTimeoutMs: 200 })
  await client.ping(5000)
  await before.close()
  for (let attempt = 0; attempt < 8; attempt++) await expect(client.ping(5000)).rejects.toThrow('Failed query')
  const after = await openDoor(serve, before.port)
  await client.ping(5000) // the driver's own pauses would exceed 10 s by now
  await client.close()
  await after.close()
})

describe('the TLS mode in the URL', () => {
  it.each([
    ['require', 'requires TLS', 'SSL_REFUSED'],
    ['verify-full', 'requires TLS', 'SSL_REFUSED'],
    ['disable', 'does not use TLS', undefined],
  ])('sslmode=%s %s', async (mode, _, code) => {
    const client = connect({ url: `${database.databaseUrl}?sslmode=${mode}`, poolSize: 1 })
    const error = await client.db.execute(sql`select 1`).then(
      () => undefined,
      (failure: unknown) => failure,
    )
    expect(describeDatabaseError(error)?.code).toBe(code)
    await client.close()
  })
})

function urlAt(port: number): string {
  const url = new URL(database.databaseUrl)
  url.port = String(port)
  url.hostname = '127.0.0.1'
  return url.href
}
