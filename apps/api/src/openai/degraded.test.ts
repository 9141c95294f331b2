import { post } from '@repo/testing/ui-stream'
import { sendJson, startUpstream } from '@repo/testing/upstream'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const upstream = await startUpstream() // an unexpected call fails with a 500
const environment = { EMBEDDING_BASE_URL: upstream.url, EMBEDDING_MODEL: 'remote' }
const { app, alice, work, listen, close } = await testApp({ environment })
const url = await listen()
afterAll(close)

const embedding = [1, ...Array(383).fill(0)]
const messages = [{ role: 'user', content: 'When does the office open?' }]
const model = app.llm.completions.name
const complete = (more: object) => post(`${url}/v1/chat/completions`, alice, { model, messages, ...more })

beforeAll(async () => {
  upstream.next(sendJson({ data: [{ embedding }] }))
  const payload = { title: 'Office', text: 'The office opens at nine.' }
  await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
  await work()
})

it('a completion without the embedding model says that its citations were found by keyword only', async () => {
  const completion = await (await complete({})).json()
  expect(completion).toMatchObject({ citations: [{ title: 'Office' }], degraded: 'keywords_only' })
  const [first, ...chunks] = (await (await complete({ stream: true })).text()).split('\n\n')
  expect(first).toContain('"degraded":"keywords_only"')
  expect(chunks.join()).not.toContain('degraded')
})

it('a completion with the embedding model, or without retrieval, says nothing', async () => {
  upstream.next(sendJson({ data: [{ embedding }] }))
  expect(await (await complete({})).json()).not.toHaveProperty('degraded')
  expect(await (await complete({ retrieval: false })).json()).not.toHaveProperty('degraded')
})

it('embeddings still fail', async () => {
  const response = await post(`${url}/v1/embeddings`, alice, { model: 'remote', input: 'a' })
  expect(response.status).toBe(502)
})
