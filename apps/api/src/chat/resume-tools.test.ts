import { readConfig } from '@repo/config'
import { connect, createStore } from '@repo/db'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { joinText, type Part, post, readParts, streamParts } from '@repo/testing/ui-stream'
import { pino } from 'pino'
import { afterAll, expect, it } from 'vitest'
import { z } from 'zod'
import { buildApp } from '../app.ts'
import { testApp } from '../testing.ts'
import { defineTool, ToolError } from './tools.ts'

const nothing = z.object({})
const tools = new Map(
  Object.entries({
    add: defineTool({ description: 'Adds', input: nothing, handler: async () => ({ sum: 2 }) }),
    refuse: defineTool({
      description: 'Refuses',
      input: nothing,
      handler: () => Promise.reject(new ToolError('Closed.')),
    }),
  }),
)
const model = createScriptedModel({ tools: true })
const { test, alice, listen, close } = await testApp({ llm: model.llm, tools })
const database = connect({ url: test.databaseUrl, poolSize: 2 })
const other = await buildApp({
  config: readConfig({ DATABASE_URL: test.databaseUrl }),
  database,
  store: createStore(database.db),
  llm: model.llm,
  logger: pino({ level: 'silent' }),
  tools,
})
const urls = [await listen(), await other.listen({ port: 0, host: '127.0.0.1' })]
afterAll(async () => {
  await other.close()
  await database.close()
  await close()
})

const resume = (url: string, lastEventId: string) =>
  fetch(`${url}/chat/c/stream`, { headers: { ...alice, 'last-event-id': lastEventId } })

/** Text is compared as a whole, because its deltas are joined. */
const toComparable = (parts: Part[]) => [joinText(parts), parts.filter(({ type }) => !type.startsWith('text-'))]

async function expectRest(received: Part[], rests: { eventId: string; rest: Promise<Part[]> }[]) {
  for (const { eventId, rest } of rests) {
    const index = received.findIndex((part) => part.eventId === eventId)
    expect(toComparable(await rest), eventId).toEqual(toComparable(received.slice(index + 1)))
  }
}
const resumeAll = (parts: Part[]) =>
  parts.flatMap(({ eventId }) =>
    eventId ? urls.map((url) => ({ eventId, rest: resume(url, eventId).then(readParts) })) : [],
  )

it('an answer is resumed between and within its tool calls, by any app, while it runs and after its end', async () => {
  const pending = post(`${urls[0]}/chat`, alice, { message: 'What is it?', conversationId: 'c' })
  const first = await model.takeAnswer()
  first.say('Let me see.')
  first.call('t0', 'add', '{}')
  first.call('t1', 'refuse', '{}')
  first.end('tool-calls')
  const second = await model.takeAnswer()
  second.say('It is ')
  const received: Part[] = []
  let rests: ReturnType<typeof resumeAll> = []
  for await (const part of streamParts(await pending)) {
    received.push(part)
    if (part.delta !== 'It is ') continue
    rests = resumeAll(received)
    second.say('two.')
    second.end()
  }
  const types = received.flatMap(({ type, eventId }) => (eventId && type.startsWith('tool-') ? type : []))
  expect(types.toSorted()).toEqual([
    ...['tool-input-available', 'tool-input-available', 'tool-output-available', 'tool-output-error'],
  ])
  await expectRest(received, rests)
  await expectRest(received, resumeAll(received))
})
