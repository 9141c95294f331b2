import { joinText, listTypes, post, readParts } from '@repo/testing/ui-stream'
import { expect, it, onTestFinished } from 'vitest'
import { testApp } from '../testing.ts'

const llamaUrl = process.env.LLAMA_URL

it('a model of a real llama.cpp server calls a tool, and cites what it has found', async ({ skip }) => {
  if (!llamaUrl) skip('needs LLAMA_URL, the base URL of a llama.cpp server')
  const environment = { OPENAI_BASE_URL: `${llamaUrl}`, CHAT_MODEL: 'table', RETRIEVAL: 'tool' }
  const { app, alice, work, listen, close } = await testApp({ environment })
  onTestFinished(close)
  const payload = { title: 'Pool', text: 'The swimming pool is open from nine to five.' }
  await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
  await work()
  const url = await listen()
  const body = { message: 'When does the swimming pool open?', conversationId: 'pool' }
  const parts = await readParts(await post(`${url}/chat`, alice, body))
  expect(listTypes(parts)).toEqual(
    expect.arrayContaining(['tool-input-delta', 'tool-input-available', 'source-document', 'tool-output-available']),
  )
  expect(joinText(parts)).toContain('[1]')
  const stored = (await app.inject({ url: '/conversations/pool', headers: alice })).json().messages[1]
  const call = stored.parts.find(({ type }: { type: string }) => type === 'tool-search_documents')
  expect(call).toMatchObject({ state: 'output-available', output: { passages: [{ n: 1 }] } })
  expect(stored).toMatchObject({ status: 'complete', sources: [{ n: 1, title: 'Pool' }] })
})

const smallUrl = process.env.LLAMA_SMALL_URL

it('a real llama.cpp server with a small context rejects a long prompt with its sizes', async ({ skip }) => {
  if (!smallUrl) skip('needs LLAMA_SMALL_URL, the base URL of a llama.cpp server with -c 4096 -np 1')
  const { alice, listen, close } = await testApp({
    environment: { OPENAI_BASE_URL: `${smallUrl}`, CHAT_MODEL: 'table' },
  })
  onTestFinished(close)
  const url = await listen()
  const response = await post(`${url}/chat`, alice, { message: 'word '.repeat(3000) })
  expect(response.status).toBe(400)
  const detail = expect.stringMatching(/The request has \d{5} tokens, and the model accepts 4096\. Send less text/)
  expect(await response.json()).toMatchObject({ code: 'context_length_exceeded', detail })
})
