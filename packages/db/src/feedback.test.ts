import { Readable } from 'node:stream'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createFeedbackExport, type RatedAnswer } from './feedback.ts'
import { createScene } from './testing-turns.ts'

const { conversations, answeredTurn, owner, owners, turns, db } = await createScene()
const feedback = createFeedbackExport(db)
const collect = (filter: Parameters<typeof feedback.list>[0]): Promise<Omit<RatedAnswer, 'position'>[]> =>
  Readable.from(feedback.list(filter)).toArray()

it('contains each rated answer with the question before it, and nothing else', async () => {
  const first = await answeredTurn('herons', 'What do herons eat?')
  await answeredTurn('herons', 'An unrated question')
  const third = await answeredTurn('herons', 'And egrets?')
  await conversations.rate(owner, 'herons', third.answerId, { value: -1, comment: 'wrong bird' })
  await conversations.rate(owner, 'herons', first.answerId, { value: 1, comment: null })
  const [good, bad, ...others] = await collect({})
  expect(good).toEqual({
    owner: 'ada',
    conversationId: 'herons',
    messageId: first.answerId,
    value: 1,
    comment: null,
    ratedAt: expect.any(Date),
    question: 'What do herons eat?',
    answer: 'answer to What do herons eat?',
    sources: [],
    status: 'complete',
    createdAt: expect.any(Date),
  })
  expect(bad).toMatchObject({ value: -1, comment: 'wrong bird', question: 'And egrets?' })
  expect(others).toEqual([])
})

it('is limited to an owner and to ratings since a time', async () => {
  const grace = await owners.ensure('grace')
  const turn = { conversationId: 'c', title: 'a title', questionId: 'q', question: 'a question', answerId: 'graces' }
  await turns.open(grace, turn)
  await conversations.rate(grace, 'c', 'graces', { value: 1, comment: null })
  const list = async (filter: Parameters<typeof collect>[0]) =>
    (await collect(filter)).map(({ messageId }) => messageId)
  expect(await list({ owner: 'grace' })).toEqual(['graces'])
  expect(await list({ owner: 'nobody' })).toEqual([])
  expect([await feedback.hasOwner('grace'), await feedback.hasOwner('nobody')]).toEqual([true, false])
  await db.execute(sql`update messages set feedback_at = '2026-01-02T00:00:00Z' where id = 'graces'`)
  expect(await list({ owner: 'grace', since: new Date('2026-01-02T00:00:00Z') })).toEqual(['graces'])
  expect(await list({ owner: 'grace', since: new Date('2026-01-02T00:00:00.001Z') })).toEqual([])
})

it('contains each rating once across pages, through the index of ratings', async () => {
  const many = await owners.ensure('many')
  await db.execute(sql`insert into conversations (owner_id, id, title) values (${many}, 'c', 'a title')`)
  await db.execute(sql`
    insert into messages (owner_id, conversation_id, id, role, status, content, feedback)
    select ${many}, 'c', 'm' || n, case when n % 2 = 0 then 'assistant' else 'user' end, 'complete', 'text ' || n,
      case when n % 2 = 0 then 1 end
    from generate_series(1, 4000) as n`)
  await db.execute(sql`analyze messages`)
  const rows = await collect({ owner: 'many' })
  expect(rows.map(({ messageId }) => messageId)).toEqual(Array.from({ length: 2000 }, (_, n) => `m${2 * n + 2}`))
  expect(rows.at(-1)?.question).toBe('text 3999')
  const plan = await db.execute(sql`
    explain select id from messages where feedback is not null and position > 100 order by position limit 100`)
  expect(JSON.stringify(plan)).toContain('messages_feedback')
})
