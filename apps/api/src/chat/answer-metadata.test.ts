import { readParts, streamParts } from '@repo/testing/ui-stream'
import { afterAll, expect, it } from 'vitest'
import { testApp } from '../testing.ts'
import { toMetadata } from './answer-metadata.ts'

const { app, alice, listen, close } = await testApp({ environment: { RETRIEVAL: 'tool' } }) // two model calls
const url = await listen()
afterAll(close)

it('is the same in `finish`, in a replay and in the stored message', async () => {
  const body = JSON.stringify({ message: 'When does the pool open?', conversationId: 'a-chat' })
  const headers = { ...alice, 'content-type': 'application/json' }
  const parts = await readParts(streamParts(await fetch(`${url}/chat`, { method: 'POST', headers, body })))
  const finish = parts.at(-2)
  const tokens = expect.any(Number)
  const metadata = { finishReason: 'stop', usage: { inputTokens: tokens, outputTokens: tokens } }
  expect(finish).toEqual({ type: 'finish', finishReason: 'stop', messageMetadata: metadata })

  const lastEventId = parts.findLast(({ eventId }) => eventId)?.eventId ?? ''
  const replay = await fetch(`${url}/chat/a-chat/stream`, { headers: { ...alice, 'last-event-id': lastEventId } })
  expect((await readParts(replay)).at(-2)).toEqual(finish)

  const { messages } = (await app.inject({ url: '/conversations/a-chat', headers: alice })).json()
  expect(messages.map((message: { metadata?: object }) => message.metadata)).toEqual([
    undefined,
    finish?.messageMetadata,
  ])
})

it('is absent for an answer that was ended from outside, and has no usage if a count is unknown', () => {
  const counts = { inputTokens: 3, outputTokens: 5, cachedTokens: 2 }
  expect(toMetadata({ finishReason: null, ...counts })).toBeUndefined()
  expect(toMetadata({ finishReason: 'stop', ...counts, outputTokens: null })).toEqual({ finishReason: 'stop' })
  expect(toMetadata({ finishReason: 'length', ...counts })).toEqual({ finishReason: 'length', usage: counts })
})
