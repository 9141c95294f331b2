import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import Fastify from 'fastify'
import postgres from 'postgres'

// Chat servers with Fastify and Drizzle for the tests of `prove`, right and wrong. The model is a slow generator.

const [databaseUrl = '', poolSize = '8'] = process.argv.slice(2)
const db = drizzle(postgres(databaseUrl, { max: Number(poolSize), fetch_types: false }))
const app = Fastify()
const load = (on: Pick<typeof db, 'execute'>) => on.execute(sql`select 1`)
let open = 0

async function* askModel() {
  for (let token = 0; token < 300; token += 1) {
    yield `data: ${token}\n\n`
    await sleep(200)
  }
}

app.get('/', async () => ({ status: 'ok' }))
app.post('/free', async (_, reply) => {
  await load(db)
  return reply.type('text/event-stream').send(Readable.from(askModel()))
})
/** The transaction stays open during the stream. */
app.post('/held', async (_, reply) => {
  reply.hijack()
  await db.transaction(async (tx) => {
    await load(tx)
    for await (const token of askModel()) if (!reply.raw.destroyed) reply.raw.write(token)
  })
})
/** Also, but the first byte is sent before it. So streams stay open when the pool is full. */
app.post('/early', async (_, reply) => {
  reply.hijack()
  reply.raw.write(': hello\n\n')
  await db.transaction(async (tx) => {
    await load(tx)
    for await (const token of askModel()) if (!reply.raw.destroyed) reply.raw.write(token)
  })
})
app.post('/short', async () => {
  await load(db)
  return 'At once.'
})
/** Serves fifty streams and refuses more. */
app.post('/limited', async (_, reply) => {
  if (open >= 50) return reply.code(429).send()
  open += 1
  reply.raw.on('close', () => {
    open -= 1
  })
  await load(db)
  return reply.type('text/event-stream').send(Readable.from(askModel()))
})
app.post('/broken', async () => load(db).then(() => Promise.reject(new Error('broken'))))

process.on('SIGTERM', () => process.exit())
process.stdout.write(`${await app.listen({ port: 0, host: '127.0.0.1' })}\n`)
