import { joinText, post, readParts } from '@repo/testing/ui-stream'
import { chunk, sendChunks, sendJson, startUpstream } from '@repo/testing/upstream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type TestApp, testApp } from '../testing.ts'

// What a model server can cache from turn to turn.

const birds = ['heron', 'stork', 'crane', 'ibis', 'egret', 'bittern', 'spoonbill', 'curlew']

/** Adds a document about each bird. */
async function addBirds({ app, alice, work }: TestApp) {
  for (const [n, bird] of birds.entries()) {
    const payload = { title: `About the ${bird}`, text: `The ${bird} was seen at lake ${n + 1} in spring.` }
    await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
  }
  await work()
}

/** Returns the increase of the token counters of /metrics since the last call. */
function createTokenMeter({ app, alice }: TestApp) {
  let before = { input: 0, cached: 0 }
  return async () => {
    const { body } = await app.inject({ url: '/metrics', headers: alice })
    /** Returns the sum of a counter's series without those of embeddings. */
    const read = (series: RegExp) =>
      body
        .split('\n')
        .filter((line) => series.test(line) && !line.includes('kind="embedding"'))
        .reduce((sum, line) => sum + Number(line.split(' ')[1]), 0)
    const now = {
      input: read(/^sluice_model_tokens_total.*direction="input"/),
      cached: read(/^sluice_model_cached_tokens_total/),
    }
    const { input, cached } = before
    before = now
    return { input: now.input - input, cached: now.cached - cached }
  }
}

const Call = z.object({ messages: z.array(z.object({ role: z.string(), content: z.string() })) })

describe('the prompt of a conversation', async () => {
  const upstream = await startUpstream()
  const scene = await testApp({ environment: { OPENAI_BASE_URL: upstream.url, CHAT_MODEL: 'the-model' } })
  const { app, alice, listen, close } = scene
  const url = await listen()
  afterAll(close)
  beforeAll(() => addBirds(scene))

  const usage = { prompt_tokens: 100, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 64 } }
  const reply = (content: string) => sendChunks(chunk({ content }), chunk({}, 'stop'), { choices: [], usage })
  /** Returns the messages that the model's server received. */
  const ask = async (conversationId: string, message: string, answer: string) => {
    upstream.next(reply(answer))
    expect(joinText(await readParts(await post(`${url}/chat`, alice, { message, conversationId })))).toBe(answer)
    return Call.parse(upstream.calls.at(-1)?.body).messages
  }
  /** The bytes that a model server reads before the last user message. */
  const write = (messages: object[]) => messages.map((message) => `${JSON.stringify(message)}\n`).join('')
  const writeStart = (messages: object[]) => write(messages.slice(0, -1))

  it('is that of the next turn up to the last message from the user, over eight turns', async () => {
    const prompts: object[][] = []
    for (const bird of birds) {
      const answer = `The ${bird} was seen at lake 7 [1]. 🐦 ${'It was seen again. '.repeat(60)}`
      prompts.push(await ask('birds', `Where was the ${bird} seen?`, answer))
    }
    expect(new Set(prompts.map((messages) => JSON.stringify(messages.at(-1)))).size).toBe(birds.length)
    for (const [n, messages] of prompts.entries()) {
      expect(messages).toHaveLength(2 * n + 2)
      const next = prompts[n + 1]
      if (!next) continue
      expect(write(next).startsWith(writeStart(messages))).toBe(true)
      expect(writeStart(next)).toContain('It was seen again.')
      expect(writeStart(next)).not.toContain('passage-')
    }
  })

  it('stays the same when an answer fails or is generated again', async () => {
    const first = await ask('failures', 'Where was the heron seen?', 'At lake 7 [1].')
    upstream.next(sendJson({}, 500))
    await post(`${url}/chat`, alice, { message: 'Where was the stork seen?', conversationId: 'failures' })
    const stored = (await app.inject({ url: '/conversations/failures', headers: alice })).json().messages
    const { id, content: text } = stored.at(-2)
    const failed = Call.parse(upstream.calls.at(-1)?.body).messages
    const body = { id: 'failures', messages: [{ id, role: 'user', parts: [{ type: 'text', text }] }] }
    upstream.next(reply('At lake 14 [1].'))
    await readParts(await post(`${url}/chat`, alice, { ...body, trigger: 'regenerate-message', messageId: 'any' }))
    expect(Call.parse(upstream.calls.at(-1)?.body).messages).toEqual(failed)
    const last = await ask('failures', 'Where was the crane seen?', 'At lake 21 [1].')
    expect(writeStart(failed).startsWith(writeStart(first))).toBe(true)
    expect(writeStart(last).startsWith(writeStart(failed))).toBe(true)
  })

  it('contains the last turn however long it is', async () => {
    const message = `Shorten this: ${'The heron stands in the lake. '.repeat(450)}`.slice(0, 13_000).trim()
    await ask('long', message, 'The heron stands.')
    const messages = await ask('long', 'shorten it', 'A heron.')
    expect(messages.slice(1, 3)).toEqual([
      { role: 'user', content: message },
      { role: 'assistant', content: 'The heron stands.' },
    ])
  })

  it('is counted in /metrics with what the server has cached', async () => {
    const measure = createTokenMeter(scene)
    await measure()
    await ask('cached', 'Where was the heron seen?', 'At lake 7 [1].')
    expect(await measure()).toEqual({ input: 100, cached: 64 })
  })

  it('is counted for OpenAI’s clients too', async () => {
    const measure = createTokenMeter(scene)
    await measure()
    const messages = [{ role: 'user', content: 'Where was the heron seen?' }]
    upstream.next(sendJson({ choices: [], usage }))
    await post(`${url}/v1/chat/completions`, alice, { model: 'the-model', messages })
    expect(await measure()).toEqual({ input: 100, cached: 64 })
  })
})

const llamaUrl = process.env.LLAMA_URL

describe('a real llama.cpp server', () => {
  it('reports cached tokens from the second turn on, and more in each turn', async ({ skip, annotate }) => {
    if (!llamaUrl) skip('needs LLAMA_URL, the base URL of a llama.cpp server')
    const environment = {
      OPENAI_BASE_URL: `${llamaUrl}`,
      CHAT_MODEL: 'table',
      MAX_ANSWER_TOKENS: '300',
      SYSTEM_PROMPT: `Run ${crypto.randomUUID()}: you are a librarian.`, // not cached by an earlier run
    }
    const scene = await testApp({ environment })
    try {
      await addBirds(scene)
      const url = await scene.listen()
      const measure = createTokenMeter(scene)
      const turns: Awaited<ReturnType<typeof measure>>[] = []
      for (const bird of birds.slice(0, 4)) {
        const body = { conversationId: 'birds', message: `Where was the ${bird} seen? say:long` }
        await readParts(await post(`${url}/chat`, scene.alice, body))
        turns.push(await measure())
      }
      await annotate(`cached prompt tokens: ${turns.map(({ input, cached }) => `${cached} of ${input}`).join(', ')}`)
      const [first, second, third, fourth] = turns.map(({ cached }) => cached)
      expect(first).toBeLessThan(50) // what any two prompts share
      expect(second).toBeGreaterThan(400) // the instructions
      expect(third).toBeGreaterThan(300 + (second ?? 0)) // and the first answer
      expect(fourth).toBeGreaterThan(300 + (third ?? 0))
      expect(fourth).toBeGreaterThan((turns[3]?.input ?? 0) / 2)
    } finally {
      await scene.close()
    }
  })
})
