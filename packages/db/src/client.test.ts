import { once } from 'node:events'
import { connect as connectSocket, createServer, type Socket } from 'node:net'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
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

/** The statements of one chat: all that is hot. */
async function chat(store: Store, owner: string) {
  const id = ++made
  const turn = { conversationId: `c${id}`, title: '', questionId: `q${id}`, question: 'When?', answerId: `a${id}` }
  const end = { sources: [], finishReason: null, inputTokens: null, outputTokens: null }
  await store.turns.open(owner, turn)
  await store.passages.search(owner, { text: 'When?', embedding: [1, 2], embeddingModel: 'tiny', limit: 5 })
  await store.turns.history(owner, turn.conversationId, turn.questionId, 10)
  expect(await store.turns.finish(owner, turn, { ...end, status: 'complete', content: `answer ${id}` })).toBe(true)
  const messages = await store.conversations.messages(owner, turn.conversationId, 10)
  expect(messages.map(({ content }) => content)).toEqual([`answer ${id}`, 'When?'])
  expect(await store.conversations.find(owner, turn.conversationId)).toMatchObject({ id: turn.conversationId })
}

describe('prepared statements through PgBouncer', () => {
  it('are named: the server parses a hot query once', async () => {
    const store = createStore(db)
    const owner = await store.owners.ensure('ada')
    for (let n = 0; n < 5; n++) await chat(store, owner)
    // One client has one server connection, so these are its statements.
    const rows = await db.execute<{ statement: string; uses: number }>(sql`
      select statement, (generic_plans + custom_plans)::int as uses from pg_prepared_statements`)
    for (const hot of [
      /^with "conversation" as \(insert into "conversations"/,
      /^select "role", "content" from "messages"/,
      /^update "messages" set "content"/,
      /^with "by_vector" as/,
      /^select "id", "role", "content", "status"/,
      /^select "id", "title", "created_at" from "conversations"/,
    ]) {
      expect(rows.filter(({ statement }) => hot.test(statement))).toMatchObject([{ uses: 5 }])
    }
  })

  it('of several processes work on fewer server connections than there are clients', async () => {
    const pools = [1, 2].map(() => connect({ url: database.databaseUrl, poolSize: 25 }))
    const stores = pools.map((pool) => createStore(pool.db))
    const owners = await Promise.all(stores.map((store, n) => store.owners.ensure(`process ${n}`)))
    const backends = new Set<number>()
    const work = Array.from({ length: 300 }, async (_, n) => {
      const [pool, store, owner] = [pools[n % 2], stores[n % 2], owners[n % 2]]
      if (!pool || !store || !owner) throw new Error('there are two')
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

it('shows its application name to the database', async () => {
  const [row] = await db.execute(sql`select current_setting('application_name') as name`)
  expect(row).toEqual({ name: 'client test' })
})

describe('ping', () => {
  it('resolves when the database answers', async () => {
    await expect(ping(5000)).resolves.toBeUndefined()
  })

  it('rejects in time when the server accepts and says nothing', async () => {
    const server = await listen(() => {})
    const silent = connect({ url: urlAt(server.port), poolSize: 1 })
    await expect(silent.ping(50)).rejects.toThrow('no answer within 50 ms')
    await server.close()
    await expect(silent.ping(5000)).rejects.toThrow('Failed query')
    await silent.close()
  })
})

it('tries anew within a second during an outage and after it', async () => {
  const target = new URL(database.databaseUrl)
  const forward = (socket: Socket) => {
    const onward = connectSocket(Number(target.port), target.hostname)
    socket.pipe(onward).pipe(socket)
    for (const end of [socket, onward]) end.on('error', () => end.destroy())
  }
  const before = await listen(forward)
  const client = connect({ url: urlAt(before.port), poolSize: 1 })
  await client.ping(5000)
  await before.close()
  for (let attempt = 0; attempt < 8; attempt++) await expect(client.ping(1000)).rejects.toThrow('Failed query')
  const after = await listen(forward, before.port)
  await client.ping(1000)
  await client.close()
  await after.close()
})

function urlAt(port: number): string {
  const url = new URL(database.databaseUrl)
  url.port = String(port)
  url.hostname = '127.0.0.1'
  return url.href
}

async function listen(serve: (socket: Socket) => void, port = 0) {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    serve(socket)
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    port: address.port,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
