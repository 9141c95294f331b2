import { createKey } from '@repo/db'
import { openStatementCounter } from '@repo/testing/count-statements'
import { startMockModel } from '@repo/testing/mock-model'
import { post, readParts } from '@repo/testing/ui-stream'
import { afterAll, expect, it } from 'vitest'
import { testApp } from '../src/testing.ts'

const counter = await openStatementCounter()
const mock = await startMockModel()
const environment = {
  OPENAI_BASE_URL: mock.url,
  CHAT_MODEL: 'mock',
  EMBEDDING_MODEL: 'mock-embed-384',
  RETRIEVAL: 'tool',
  OWNER_TOKENS_PER_DAY: '1000000', // a budget costs no statement
}
const { alice, store, listen, close } = await testApp({ environment, gate: counter })
afterAll(async () => {
  await close()
  await mock.close()
  await counter.close()
})
const url = await listen()

/** Asks a question whose answer calls a tool in so many steps. Returns the statements that it took. */
async function count(calls: number): Promise<string[]> {
  counter.take()
  const parts = await readParts(await post(`${url}/chat`, alice, { message: `Why? [mock calls=${calls} tokens=1]` }))
  expect(parts.filter(({ type }) => type === 'tool-output-available')).toHaveLength(calls)
  return counter.take().filter((statement) => !isBackground(statement))
}

/** Statements that one process runs once per second or minute for all of its chats. */
function isBackground(statement: string): boolean {
  return /jsonb?_to_recordset|stop_requested"?\s*\)?$|"(model_)?usage"|api_keys|last_used_at|pg_stats/.test(statement)
}

it('a chat takes one statement more for each search, and none for a step', async ({ annotate }) => {
  await count(2) // the first chats prepare their statements
  const [none, one, two] = [await count(0), await count(1), await count(2)]
  await annotate(`statements of a chat: ${none.length}, with one tool call ${one.length}, with two ${two.length}`)
  expect(none).toHaveLength(2)
  expect(one).toHaveLength(3)
  expect(two).toHaveLength(4)
})

it('expiry and scopes of a key take no statement of their own', async () => {
  const expiresAt = new Date(Date.now() + 3_600_000)
  const key = await createKey(store, 'alice', { scopes: ['read'], expiresAt })
  for (const headers of [alice, { authorization: `Bearer ${key}` }]) {
    for (const path of ['/documents', '/models']) await fetch(`${url}${path}`, { headers }) // prepares the statements
    counter.take()
    expect((await fetch(`${url}/models`, { headers })).status).toBe(200)
    expect(
      counter.take().filter((statement) => /api_keys/.test(statement) && !/last_used_at/.test(statement)),
    ).toHaveLength(1)
  }
})
