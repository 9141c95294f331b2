import { connect, createStore, createUsageRecorder } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { afterAll, expect, it } from 'vitest'
import { printUsage } from './print-usage.ts'

const test = await createTestDatabase()
const { db, close } = connect({ url: test.databaseUrl, poolSize: 1 })
afterAll(async () => {
  await close()
  await test.drop()
})
const store = createStore(db)
const [ada, bob] = [await store.owners.ensure('ada, the "first"'), await store.owners.ensure('bob')]
const recorder = createUsageRecorder()
const usage = { inputTokens: 1000, outputTokens: 200, cachedInputTokens: 500, reasoningTokens: 50 }
recorder.count(ada, 'key', { kind: 'chat', model: 'gpt', usage, toolCalls: 2 })
recorder.count(ada, 'other', { kind: 'chat', model: 'gpt', usage })
recorder.count(bob, undefined, {
  kind: 'embedding',
  model: 'embed',
  usage: { inputTokens: 3, outputTokens: 0 },
  isEstimated: true,
})
await recorder.flush(store.usage.store)
const today = new Date().toISOString().slice(0, 10)
const prices = { gpt: { input: 1, cachedInput: 0.1, output: 10 } }

async function print(more: Partial<Parameters<typeof printUsage>[0]> = {}): Promise<string[]> {
  const lines: string[] = []
  await printUsage({ db, prices, csv: true, print: (line) => lines.push(line), ...more })
  return lines
}

it('prints one line per day, owner, model and kind', async () => {
  const [head, ...rows] = await print()
  expect(head).toBe(
    'day,owner,model,kind,requests,inputTokens,cachedInputTokens,outputTokens,reasoningTokens,toolCalls,estimated,cost',
  )
  expect(rows).toEqual([
    `${today},"ada, the ""first""",gpt,chat,2,2000,1000,400,100,2,0,0.005100`,
    `${today},bob,embed,embedding,1,3,0,0,0,0,1,`,
  ])
  expect(await print({ owner: 'bob' })).toHaveLength(2)
  expect(await print({ from: '2026-01-01', to: '2026-01-31' })).toEqual([head])
})

it('aligns a table', async () => {
  const [head = '', ...rows] = await print({ csv: false })
  expect(rows).toHaveLength(2)
  const end = head.indexOf('requests') + 'requests'.length
  expect(rows.map((row) => row.slice(0, end).match(/\d+$/)?.[0])).toEqual(['2', '1'])
})

it.each([
  [{ owner: 'nobody' }, 'No owner has the name nobody.'],
  [{ from: 'yesterday' }, 'Invalid date yesterday. Use a date like 2026-11-30.'],
  [{ to: '2026-02-30' }, 'Invalid date 2026-02-30.'],
  [{ from: '2026-02-02', to: '2026-02-01' }, 'Invalid dates'],
])('fails with one line for %j', async (options, message) => {
  await expect(print(options)).rejects.toThrow(message)
})
