import { eq, sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { conversations as conversationsTable } from './schema.ts'
import { complete, createScene, nextId, text } from './testing-turns.ts'

const { db, owner, turns, answers, conversations, openTurn, answeredTurn, read, readOne } = await createScene()

describe('opening a turn', () => {
  it('creates the conversation, the question and a running answer', async () => {
    const turn = await openTurn()
    expect(await conversations.read(owner, turn.conversationId, 1)).toMatchObject({ title: 'a title' })
    expect(await read(turn.conversationId)).toMatchObject([
      { id: turn.questionId, role: 'user', content: 'a question', status: 'complete' },
      { id: turn.answerId, role: 'assistant', content: '', status: 'streaming', sources: [] },
    ])
  })

  it('keeps the title of an existing conversation and moves it to the top of the list', async () => {
    const first = await answeredTurn()
    const second = await answeredTurn()
    await turns.open(owner, { ...first, title: 'another title', questionId: nextId('q'), answerId: nextId('a') })
    const [newest, next] = await conversations.list(owner, 2)
    expect(newest).toMatchObject({ id: first.conversationId, title: 'a title' })
    expect(next).toMatchObject({ id: second.conversationId })
  })

  it('rejects a question whose id exists, and stores nothing', async () => {
    const turn = await answeredTurn()
    const again = turns.open(owner, { ...turn, question: 'changed', answerId: nextId('a') })
    await expect(again).rejects.toMatchObject({ name: 'ConflictError', code: 'message_exists' })
    expect(await read(turn.conversationId)).toHaveLength(2)
  })

  it('rejects a second question while an answer runs', async () => {
    const turn = await openTurn()
    await expect(openTurn(turn.conversationId)).rejects.toMatchObject({ code: 'answer_running' })
    expect(await read(turn.conversationId)).toHaveLength(2)
  })

  it('accepts exactly one of twenty concurrent questions, in a new and an existing conversation', async () => {
    for (const conversationId of [nextId('conversation'), (await answeredTurn()).conversationId]) {
      const before = (await read(conversationId)).length
      const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => openTurn(conversationId)))
      const lost = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason.code] : []))
      expect(lost).toEqual(Array.from({ length: 19 }, () => 'answer_running'))
      expect(await read(conversationId)).toHaveLength(before + 2)
    }
  })

  it('stores a question once if it is sent twenty times concurrently', async () => {
    const turn = { conversationId: nextId('c'), title: '', questionId: nextId('q'), question: 'hello' }
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, () => turns.open(owner, { ...turn, answerId: nextId('a') })),
    )
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1)
    expect(await read(turn.conversationId)).toHaveLength(2)
  })
})

describe('reopening a turn', () => {
  it('replaces the answer to the last question and returns that question', async () => {
    const first = await answeredTurn()
    const last = await answeredTurn(first.conversationId, 'the last question')
    const answerId = nextId('a')
    expect(await turns.reopen(owner, { ...last, question: undefined, answerId })).toEqual({
      question: 'the last question',
      parts: null,
      scope: null,
    })
    expect((await read(first.conversationId)).map(({ id, status }) => [id, status])).toEqual([
      [first.questionId, 'complete'],
      [first.answerId, 'complete'],
      [last.questionId, 'complete'],
      [answerId, 'streaming'],
    ])
  })

  it('returns the scope stored with the question, and replaces it with a given one', async () => {
    const turn = await openTurn()
    await answers.finish(owner, turn, complete)
    const [opened, ids] = [{ filter: { team: 'ops' } }, { documentIds: [crypto.randomUUID()] }]
    const next = { ...turn, questionId: nextId('q'), answerId: nextId('a'), scope: opened }
    await turns.open(owner, next)
    for (const [given, stored] of [
      [undefined, opened],
      [ids, ids],
      [undefined, ids],
    ]) {
      await answers.finish(owner, next, complete)
      next.answerId = nextId('a')
      expect(await turns.reopen(owner, { ...next, question: undefined, scope: given })).toEqual({
        question: 'a question',
        parts: null,
        scope: stored,
      })
    }
  })

  it('replaces everything after an earlier question, which may have a new text', async () => {
    const first = await answeredTurn()
    await answeredTurn(first.conversationId)
    const answerId = nextId('a')
    const edited = { ...first, question: 'a better question', answerId }
    expect(await turns.reopen(owner, edited)).toMatchObject({ question: 'a better question' })
    expect((await read(first.conversationId)).map(({ id, content }) => [id, content])).toEqual([
      [first.questionId, 'a better question'],
      [answerId, ''],
    ])
  })

  it('changes nothing for an answer or an unknown id', async () => {
    const first = await answeredTurn()
    const before = await read(first.conversationId)
    for (const questionId of [first.answerId, 'unknown']) {
      expect(await turns.reopen(owner, { ...first, questionId, answerId: nextId('a') })).toBeUndefined()
    }
    expect(await read(first.conversationId)).toEqual(before)
  })

  it('is rejected while the answer runs, and keeps that answer', async () => {
    const turn = await openTurn()
    const again = turns.reopen(owner, { ...turn, answerId: nextId('a') })
    await expect(again).rejects.toMatchObject({ name: 'ConflictError', code: 'answer_running' })
    expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ status: 'streaming' })
  })

  it('accepts exactly one of ten concurrent calls', async () => {
    const turn = await answeredTurn()
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, () => turns.reopen(owner, { ...turn, answerId: nextId('a') })),
    )
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1)
    expect(await read(turn.conversationId)).toHaveLength(2)
  })
})

describe('an answer that waits for its client', () => {
  async function waitingTurn() {
    const turn = await openTurn()
    const call = { type: 'tool-call', toolCallId: 'c', toolName: 't', input: {} } as const
    await answers.finish(owner, turn, { ...complete, parts: [call], finishReason: 'tool-calls' })
    return { turn, call }
  }

  it('is read and runs again, once', async () => {
    const { turn, call } = await waitingTurn()
    expect(await turns.readWaiting(owner, turn)).toEqual({
      content: '',
      parts: [call],
      sources: [],
      scope: null,
      model: null,
      inputTokens: 12,
      outputTokens: 3,
      cachedTokens: 8,
    })
    expect(await turns.continue(owner, turn, 0)).toBe(false)
    expect(await turns.continue(owner, turn, 1)).toBe(true)
    expect(await turns.continue(owner, turn, 1)).toBe(false)
    expect(await turns.readWaiting(owner, turn)).toBeUndefined()
    expect(await answers.findRunning(owner, turn.conversationId)).toBe(turn.answerId)
  })

  it('does not run again while another answer of its conversation runs', async () => {
    const { turn } = await waitingTurn()
    await openTurn(turn.conversationId)
    await expect(turns.continue(owner, turn, 1)).rejects.toMatchObject({ code: 'answer_running' })
  })
})

describe('reopening a turn of a conversation that is being deleted', () => {
  const countWaiting = async () => {
    const isWaiting = sql`datname = current_database() and wait_event_type = 'Lock'`
    return (await db.execute(sql`select pid from pg_stat_activity where ${isWaiting}`)).length
  }

  it('waits for the deletion and returns undefined', async () => {
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
  it('contains the earlier messages with text, newest first, up to the limit', async () => {
    const first = await answeredTurn(undefined, 'one')
    const second = await openTurn(first.conversationId, 'two')
    await answers.finish(owner, second, { ...complete, parts: [], status: 'failed' })
    const third = await answeredTurn(first.conversationId, 'three')
    const history = (limit: number) => turns.history(owner, first.conversationId, third.questionId, limit)
    const expected = [
      { role: 'user', content: 'two', parts: null, start: 16, size: 3 },
      { role: 'assistant', content: 'answer to one', parts: null, start: 3, size: 13 },
      { role: 'user', content: 'one', parts: null, start: 0, size: 3 },
    ]
    expect(await history(10)).toEqual(expected)
    expect(await history(2)).toEqual(expected.slice(0, 2))
  })

  it('says where each message begins in the text of the conversation, in bytes', async () => {
    const { conversationId } = await answeredTurn(undefined, 'wie überall 🙂')
    const { questionId } = await openTurn(conversationId)
    const [answer, question] = await turns.history(owner, conversationId, questionId)
    expect(question).toMatchObject({ content: 'wie überall 🙂', start: 0 })
    expect(answer?.start).toBe(Buffer.byteLength('wie überall 🙂'))
  })

  it('begins at the same message for many turns when there are more than the limit', async () => {
    const { conversationId } = await answeredTurn(undefined, '0')
    const begins: (string | undefined)[] = []
    for (let n = 1; n <= 12; n++) {
      const turn = { conversationId, title: '', questionId: nextId('q'), question: `${n}`, answerId: nextId('a') }
      const history = await turns.open(owner, turn, 8)
      expect(history).toEqual(await turns.history(owner, conversationId, turn.questionId, 8))
      expect(history).toHaveLength(n < 4 ? 2 * n : n % 2 === 0 ? 8 : 6)
      begins.push(history.at(-1)?.content)
      await answers.finish(owner, turn, { ...complete, parts: text(`answer to ${n}`) })
    }
    expect(begins).toEqual(['0', '0', '0', '0', '2', '2', '4', '4', '6', '6', '8', '8'])
  })

  it('is empty for the first question and for an unknown one', async () => {
    const turn = await answeredTurn()
    expect(await turns.history(owner, turn.conversationId, turn.questionId, 10)).toEqual([])
    expect(await turns.history(owner, turn.conversationId, 'unknown', 10)).toEqual([])
  })
})
