import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { runInThisContext } from 'node:vm'
import { createOpenAI } from '@ai-sdk/openai'
import { generateText } from 'ai'
import { eq } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { pgTable, text } from 'drizzle-orm/pg-core'
import OpenAI from 'openai'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createGuard } from './index.ts'
import { startModel } from './testing-model.ts'

const page = readFileSync(join(import.meta.dirname, '../../../docs/held-connections.md'), 'utf8')
const readBlocks = (language: string) =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(([, block = '']) => block)

const guard = createGuard({ mode: 'count' })
const pool = guard.pg(new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 3 }))
const db = guard.drizzle(drizzle(pool))
const server = await startModel()
const chatMessages = pgTable('held_chat_messages', {
  chatId: text('chat_id').notNull(),
  role: text('role').$type<'user' | 'assistant'>().notNull(),
  content: text('content').notNull(),
})

beforeAll(() => pool.query('create table held_chat_messages (chat_id text, role text, content text)'))
afterAll(async () => {
  guard.stop()
  server.close()
  await pool.query('drop table held_chat_messages')
  await pool.end()
})

type Message = typeof chatMessages.$inferInsert
type Queries = Pick<typeof db, 'select' | 'insert'>

/** Prisma is not installed here. This has its methods, on Drizzle. */
const createPrisma = (client: Queries) => ({
  chatMessage: {
    findMany: ({ where }: { where: { chatId: string } }) =>
      client.select().from(chatMessages).where(eq(chatMessages.chatId, where.chatId)),
    create: ({ data }: { data: Message }) => client.insert(chatMessages).values(data),
  },
  $transaction: (work: (tx: unknown) => Promise<unknown>) => db.transaction((tx) => work(createPrisma(tx))),
})

/** Calls the handler of an example with one chat, and returns how many calls were made with a connection held. */
async function run(example: string, chatId: string): Promise<number> {
  const handlers: ((request: unknown, response: unknown) => Promise<unknown>)[] = []
  const scope = {
    ...{ pool, db, eq, chatMessages, generateText, prisma: createPrisma(db) },
    app: { post: (_path: string, handler: (typeof handlers)[0]) => handlers.push(handler) },
    openai: new OpenAI({ baseURL: server.url, apiKey: 'a' }),
    model: createOpenAI({ baseURL: server.url, apiKey: 'a' }).chat('m'),
    history: 'select role, content from held_chat_messages where chat_id = $1',
    save: "insert into held_chat_messages values ($1, 'assistant', $2)",
  }
  const code = stripTypeScriptTypes(example).replace(
    'export async function POST',
    'app.post("", POST); async function POST',
  )
  runInThisContext(`({ ${Object.keys(scope)} }) => { ${code} }`)(scope)
  const before = guard.count()
  const request = { body: { chatId }, json: async () => ({ chatId }) }
  await handlers[0]?.(request, { json: () => {} })
  return guard.count() - before
}

describe('the examples of docs/held-connections.md', () => {
  const examples = readBlocks('ts')

  it.each(examples.map((example, index) => [example.split('\n')[0], index]))('%s (%i)', async (_, index) => {
    const chatId = String(index)
    await db.insert(chatMessages).values({ chatId, role: 'user', content: 'Why?' })
    const isWrong = index % 2 === 0 // each section shows first the bug and then its fix
    expect(await run(examples[index] ?? '', chatId)).toBe(isWrong ? 1 : 0)
    expect(await db.select().from(chatMessages).where(eq(chatMessages.chatId, chatId))).toHaveLength(2)
  })

  it('are all found', () => {
    expect([examples.length, readBlocks('python').length, readBlocks('sql').length]).toEqual([6, 4, 1])
  })

  it('can be run by Postgres', async () => {
    expect((await pool.query(readBlocks('sql')[0] ?? '')).fields.map(({ name }) => name)).toContain('longest')
  })

  it('can be parsed by Python', ({ skip }) => {
    const parse = 'import ast, sys; ast.parse(sys.stdin.read())'
    for (const block of readBlocks('python')) {
      const { error, status, stderr } = spawnSync('python3', ['-c', parse], { input: block, encoding: 'utf8' })
      skip(error !== undefined, 'python3 is not installed')
      expect(stderr).toBe('')
      expect(status).toBe(0)
    }
  })
})
