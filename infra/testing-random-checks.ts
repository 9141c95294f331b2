import { expect } from 'vitest'
import type { Api } from './testing-apis.ts'
import { type Reading, resume } from './testing-chats.ts'
import { type Answer, type Headers, listLast, type Reader, stopAnswer, type World } from './testing-random-chats.ts'

type Conversation = { messages: { id: string; role: string; content: string; status: string }[] }

/** Readers have received only what the model sent, a possible end, and the whole answer unless they left. */
export function checkReaders({ answers }: World): void {
  for (const answer of answers) for (const reader of answer.readers) checkReader(answer, reader)
}

function checkReader({ sent, statuses }: Answer, { reading, isDone, mayBreak }: Reader): void {
  expect(reading.text).toBe(sent.slice(0, reading.text.length))
  if (reading.end) {
    expect(statuses).toContain(reading.end)
    statuses.clear()
    statuses.add(reading.end)
  } else if (isDone) expect(mayBreak, JSON.stringify(reading)).toBe(true)
}

/**
 * Ends all answers, then compares what is stored, and what each process returns to resuming readers, with what was
 * seen.
 */
export async function checkEnd(world: World): Promise<void> {
  const { random, apis, alice, answers } = world
  await Promise.all(listLast(answers).map((answer) => stopAnswer(random.pick(apis), alice, answer)))
  await expect.poll(() => answers.flatMap(({ readers }) => readers).filter(({ isDone }) => !isDone)).toEqual([])
  checkReaders(world)
  for (const last of listLast(answers)) {
    const own = answers.filter(({ conversationId }) => conversationId === last.conversationId)
    await checkConversation(random.pick(apis), alice, own)
  }
}

async function checkConversation(api: Api, headers: Headers, answers: Answer[]): Promise<void> {
  const response = await fetch(`${api.url}/conversations/${answers[0]?.conversationId}`, { headers })
  const { messages }: Conversation = JSON.parse(await response.text())
  const questions = messages.filter(({ role }) => role === 'user').map(({ content }) => content)
  expect(questions).toEqual(answers.map(({ question }) => question))
  for (const answer of answers) {
    const stored = messages.find(({ id }) => id === answer.messageId)
    if (!stored) throw new Error(`the answer to ${answer.question} is not there`)
    expect(answer.statuses).toContain(stored.status)
    const { content } = stored
    expect(content).toBe(answer.sent.slice(0, content.length))
    if (stored.status === 'complete') expect(content).toBe(answer.sent)
    for (const { reading } of answer.readers) await checkReading(api, headers, answer, reading, content)
  }
}

/** A resuming reader ends with all that is stored, and has more only if the process was killed. */
async function checkReading(
  api: Api,
  headers: Headers,
  answer: Answer,
  { text, lastEventId }: Reading,
  stored: string,
) {
  if (!lastEventId) return
  const reading = await resume(api.url, { headers }, answer.conversationId, { text, lastEventId })
  expect(answer.statuses).toContain(reading.end)
  expect(reading.text.slice(0, stored.length)).toBe(stored)
  if (!answer.wasKilled) expect(reading.text).toBe(stored)
}
