import { eq, sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { conversations as conversationsTable } from './schema.ts'
import { complete, createScene, nextId } from './testing-turns.ts'

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
    await answers.finish(owner, second, { ...complete, content: '', status: 'failed' })
    const third = await answeredTurn(first.conversationId, 'three')
    const history = (limit: number) => turns.history(owner, first.conversationId, third.questionId, limit)
    const expected = [
      { role: 'user', content: 'two', start: 16 },
      { role: 'assistant', content: 'answer to one', start: 3 },
      { role: 'user', content: 'one', start: 0 },
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
      await answers.finish(owner, turn, { ...complete, content: `answer to ${n}` })
    }
    expect(begins).toEqual(['0', '0', '0', '0', '2', '2', '4', '4', '6', '6', '8', '8'])
  })

  it('is empty for the first question and for an unknown one', async () => {
    const turn = await answeredTurn()
    expect(await turns.history(owner, turn.conversationId, turn.questionId, 10)).toEqual([])
    expect(await turns.history(owner, turn.conversationId, 'unknown', 10)).toEqual([])
  })
})
