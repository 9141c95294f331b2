import { eq, sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import { conversations as conversationsTable, messages } from './schema.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'
import type { AnswerEnd, Progress } from './turns.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 20 })
const { turns, conversations, owners } = createStore(db)
const owner = await owners.ensure('ada')

afterAll(async () => {
  await close()
  await database.drop()
})

const complete: AnswerEnd = {
  content: 'an answer',
  status: 'complete',
  sources: [],
  finishReason: 'stop',
  inputTokens: 12,
  outputTokens: 3,
}

let made = 0
const nextId = (kind: string) => `${kind}-${++made}`

async function openTurn(conversationId = nextId('conversation'), question = 'a question') {
  const turn = { conversationId, title: 'a title', questionId: nextId('q'), question, answerId: nextId('a') }
  await turns.open(owner, turn)
  return turn
}

async function answeredTurn(conversationId?: string, question?: string) {
  const turn = await openTurn(conversationId, question)
  await turns.finish(owner, turn, { ...complete, content: `answer to ${turn.question}` })
  return turn
}

const read = async (conversationId: string) => (await conversations.messages(owner, conversationId, 100)).reverse()
const readOne = async (conversationId: string, id: string) =>
  (await read(conversationId)).find((message) => message.id === id)

/** Makes an answer look as if its process had said nothing for `ms`. */
const age = (answerId: string, ms: number) =>
  db
    .update(messages)
    .set({ heartbeatAt: new Date(Date.now() - ms) })
    .where(eq(messages.id, answerId))

/** A running answer that another process takes for abandoned. */
async function sweptTurn() {
  const turn = await openTurn()
  await age(turn.answerId, 61_000)
  await turns.interruptAbandoned(60_000)
  expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ status: 'interrupted' })
  return turn
}

describe('opening a turn', () => {
  it('makes the conversation, the question and a running answer', async () => {
    const turn = await openTurn()
    expect(await conversations.find(owner, turn.conversationId)).toMatchObject({ title: 'a title' })
    expect(await read(turn.conversationId)).toMatchObject([
      { id: turn.questionId, role: 'user', content: 'a question', status: 'complete' },
      { id: turn.answerId, role: 'assistant', content: '', status: 'streaming', sources: [] },
    ])
  })

  it('keeps the title of a conversation that exists and moves it to the top of the list', async () => {
    const first = await answeredTurn()
    const second = await answeredTurn()
    await turns.open(owner, { ...first, title: 'another title', questionId: nextId('q'), answerId: nextId('a') })
    const [newest, next] = await conversations.list(owner, 2)
    expect(newest).toMatchObject({ id: first.conversationId, title: 'a title' })
    expect(next).toMatchObject({ id: second.conversationId })
  })

  it('refuses a question that is stored, and stores nothing of the second', async () => {
    const turn = await answeredTurn()
    const again = turns.open(owner, { ...turn, question: 'changed', answerId: nextId('a') })
    await expect(again).rejects.toMatchObject({ name: 'ConflictError', code: 'message_exists' })
    expect(await read(turn.conversationId)).toHaveLength(2)
  })

  it('refuses a second question while an answer runs', async () => {
    const turn = await openTurn()
    await expect(openTurn(turn.conversationId)).rejects.toMatchObject({ code: 'answer_running' })
    expect(await read(turn.conversationId)).toHaveLength(2)
  })

  it('lets exactly one of twenty that come at once win, in a new conversation and in an old one', async () => {
    for (const conversationId of [nextId('conversation'), (await answeredTurn()).conversationId]) {
      const before = (await read(conversationId)).length
      const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => openTurn(conversationId)))
      const lost = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason.code] : []))
      expect(lost).toEqual(Array.from({ length: 19 }, () => 'answer_running'))
      expect(await read(conversationId)).toHaveLength(before + 2)
    }
  })

  it('stores a question once that is sent twenty times at once', async () => {
    const turn = { conversationId: nextId('c'), title: '', questionId: nextId('q'), question: 'hello' }
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, () => turns.open(owner, { ...turn, answerId: nextId('a') })),
    )
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1)
    expect(await read(turn.conversationId)).toHaveLength(2)
  })
})

describe('reopening a turn', () => {
  it('replaces the answer to the last question and gives that question', async () => {
    const first = await answeredTurn()
    const last = await answeredTurn(first.conversationId, 'the last question')
    const answerId = nextId('a')
    expect(await turns.reopen(owner, { ...last, answerId })).toBe('the last question')
    expect((await read(first.conversationId)).map(({ id, status }) => [id, status])).toEqual([
      [first.questionId, 'complete'],
      [first.answerId, 'complete'],
      [last.questionId, 'complete'],
      [answerId, 'streaming'],
    ])
  })

  it('changes nothing for a question that is not the last, an answer, or an unknown id', async () => {
    const first = await answeredTurn()
    const last = await answeredTurn(first.conversationId)
    const before = await read(first.conversationId)
    for (const questionId of [first.questionId, last.answerId, 'unknown']) {
      expect(await turns.reopen(owner, { ...first, questionId, answerId: nextId('a') })).toBeUndefined()
    }
    expect(await read(first.conversationId)).toEqual(before)
  })

  it('is refused while the answer runs, which stays', async () => {
    const turn = await openTurn()
    const again = turns.reopen(owner, { ...turn, answerId: nextId('a') })
    await expect(again).rejects.toMatchObject({ name: 'ConflictError', code: 'answer_running' })
    expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ status: 'streaming' })
  })

  it('lets exactly one of ten that come at once win', async () => {
    const turn = await answeredTurn()
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, () => turns.reopen(owner, { ...turn, answerId: nextId('a') })),
    )
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1)
    expect(await read(turn.conversationId)).toHaveLength(2)
  })
})

describe('reopening a turn of a conversation that is being deleted', () => {
  const countWaiting = async () => {
    const isWaiting = sql`datname = current_database() and wait_event_type = 'Lock'`
    return (await db.execute(sql`select pid from pg_stat_activity where ${isWaiting}`)).length
  }

  it('waits for the end of that and gives nothing', async () => {
    const turn = await answeredTurn()
    const reopened = await db.transaction(async (tx) => {
      await tx.delete(conversationsTable).where(eq(conversationsTable.id, turn.conversationId))
      const outcome = Promise.allSettled([turns.reopen(owner, { ...turn, answerId: nextId('a') })])
      await expect.poll(countWaiting).toBe(1)
      return { outcome }
    })
    expect(await reopened.outcome).toEqual([{ status: 'fulfilled', value: undefined }])
    expect(await read(turn.conversationId)).toEqual([])
  })
})

describe('the history of a turn', () => {
  it('is what came before the question, newest first, without empty answers, up to the limit', async () => {
    const first = await answeredTurn(undefined, 'one')
    const second = await openTurn(first.conversationId, 'two')
    await turns.finish(owner, second, { ...complete, content: '', status: 'failed' })
    const third = await answeredTurn(first.conversationId, 'three')
    const history = (limit: number) => turns.history(owner, first.conversationId, third.questionId, limit)
    const expected = [
      { role: 'user', content: 'two' },
      { role: 'assistant', content: 'answer to one' },
      { role: 'user', content: 'one' },
    ]
    expect(await history(10)).toEqual(expected)
    expect(await history(2)).toEqual(expected.slice(0, 2))
  })

  it('is empty for the first question and for an unknown one', async () => {
    const turn = await answeredTurn()
    expect(await turns.history(owner, turn.conversationId, turn.questionId, 10)).toEqual([])
    expect(await turns.history(owner, turn.conversationId, 'unknown', 10)).toEqual([])
  })
})

describe('finishing an answer', () => {
  it('stores how it ended, once', async () => {
    const turn = await openTurn()
    const sources = [{ n: 1, documentId: 'd', chunkId: 'c', title: "It's", start: 0, end: 9, page: 2 }]
    expect(await turns.finish(owner, turn, { ...complete, sources })).toBe(true)
    expect(await turns.finish(owner, turn, { ...complete, content: 'late', status: 'failed' })).toBe(false)
    const stored = await readOne(turn.conversationId, turn.answerId)
    expect(stored).toMatchObject({ content: 'an answer', status: 'complete', sources })
  })

  it('takes an end that knows no reason and counted no tokens', async () => {
    const turn = await openTurn()
    const end: AnswerEnd = { ...complete, status: 'stopped', finishReason: null, inputTokens: null, outputTokens: null }
    expect(await turns.finish(owner, turn, end)).toBe(true)
  })

  it('stores all of one that another process took for abandoned', async () => {
    const turn = await sweptTurn()
    expect(await turns.finish(owner, turn, complete)).toBe(true)
    const stored = await readOne(turn.conversationId, turn.answerId)
    expect(stored).toMatchObject({ content: 'an answer', status: 'complete' })
  })

  it('is done again when the caller could not know that it was done', async () => {
    const turn = await openTurn()
    expect(await turns.finish(owner, turn, complete)).toBe(true)
    expect(await turns.finish(owner, turn, complete)).toBe(true)
  })

  it('is false when the conversation was deleted', async () => {
    const turn = await openTurn()
    await conversations.remove(owner, turn.conversationId)
    expect(await turns.finish(owner, turn, complete)).toBe(false)
  })
})

describe('saving progress', () => {
  it('stores the text of many answers of many owners at once and gives those that still run', async () => {
    const bob = await owners.ensure('bob')
    const mine = await openTurn()
    const ended = await answeredTurn()
    const theirs = { ...mine, answerId: nextId('a') }
    await turns.open(bob, theirs)
    const running = await turns.saveProgress([
      { ...mine, owner, content: 'so "far" \\' },
      { ...theirs, owner: bob, content: 'bob’s 😀' },
      { ...ended, owner, content: 'too late' },
      { ...mine, owner, answerId: 'unknown', content: 'nobody’s' },
    ])
    expect(running).toEqual(new Set([mine.answerId, theirs.answerId]))
    expect(await readOne(mine.conversationId, mine.answerId)).toMatchObject({
      content: 'so "far" \\',
      status: 'streaming',
    })
    expect((await conversations.messages(bob, mine.conversationId, 1))[0]).toMatchObject({ content: 'bob’s 😀' })
    expect(await readOne(ended.conversationId, ended.answerId)).toMatchObject({ content: 'answer to a question' })
  })

  it('adds to the text that is stored, or replaces it', async () => {
    const turn = await openTurn()
    const key = { ...turn, owner }
    const steps: [Progress, string][] = [
      [{ ...key, content: 'half' }, 'half'],
      [{ ...key, addition: ' 😀' }, 'half 😀'],
      [{ ...key, addition: '' }, 'half 😀'],
      [{ ...key, content: 'all' }, 'all'],
    ]
    for (const [progress, content] of steps) {
      expect(await turns.saveProgress([progress])).toEqual(new Set([turn.answerId]))
      expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ content })
    }
  })

  it('goes on with an answer that another process took for abandoned', async () => {
    const turn = await sweptTurn()
    const running = await turns.saveProgress([{ ...turn, owner, content: 'still here' }])
    expect(running).toEqual(new Set([turn.answerId]))
    expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ content: 'still here' })
  })

  it.each(['complete', 'interrupted'] as const)(
    'that comes late adds nothing to an answer that ended as %s',
    async (status) => {
      const turn = await openTurn()
      await turns.finish(owner, turn, { ...complete, status })
      expect(await turns.saveProgress([{ ...turn, owner, addition: ' answer' }])).toEqual(new Set())
      expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ content: 'an answer', status })
    },
  )

  it('is nothing when nothing runs', async () => {
    expect(await turns.saveProgress([])).toEqual(new Set())
  })
})

describe('interrupting abandoned answers', () => {
  const silentMs = 60_000

  it('ends those whose process was silent for longer, keeps their text, and frees the conversation', async () => {
    const turn = await openTurn()
    await turns.saveProgress([{ ...turn, owner, content: 'half an ans' }])
    await age(turn.answerId, silentMs + 1000)
    await turns.interruptAbandoned(silentMs)
    const abandoned = await readOne(turn.conversationId, turn.answerId)
    expect(abandoned).toMatchObject({ content: 'half an ans', status: 'interrupted' })
    await openTurn(turn.conversationId)
  })

  it('leaves those alone that spoke within it, and those that ended', async () => {
    const [running, saved, ended] = [await openTurn(), await openTurn(), await answeredTurn()]
    for (const { answerId } of [saved, ended]) await age(answerId, silentMs + 1000)
    await turns.saveProgress([{ ...saved, owner, content: 'I live' }])
    await turns.interruptAbandoned(silentMs)
    expect(await readOne(running.conversationId, running.answerId)).toMatchObject({ status: 'streaming' })
    expect(await readOne(saved.conversationId, saved.answerId)).toMatchObject({ status: 'streaming' })
    expect(await readOne(ended.conversationId, ended.answerId)).toMatchObject({ status: 'complete' })
  })
})
