import { Readable } from 'node:stream'
import { eq } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import type { Cursor } from './conversations.ts'
import { messages, conversations as table } from './schema.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 4 })
const { answers, conversations, turns, owners } = createStore(db)

afterAll(async () => {
  await close()
  await database.drop()
})

function openTurn(owner: string, conversationId: string, n = 1) {
  const turn = { conversationId, title: 'a title', questionId: `q${n}`, question: `question ${n}`, answerId: `a${n}` }
  return turns.open(owner, turn)
}

describe('the content of a long message', () => {
  const pieceLength = 64 * 1024 // code points
  it.each([1, pieceLength - 1, pieceLength, pieceLength + 1, 2 * pieceLength])(
    'comes in pieces that make up all of its %i code points',
    async (length) => {
      const owner = await owners.ensure('reads')
      await openTurn(owner, `long-${length}`)
      const content = `${'a🏊'.repeat(length / 2)}${'a'.repeat(length % 2)}`
      await db
        .update(messages)
        .set({ content })
        .where(eq(messages.conversationId, `long-${length}`))
      const pieces = await Readable.from(conversations.readContent(owner, `long-${length}`, 'q1')).toArray()
      expect(pieces.join('')).toBe(content)
    },
  )

  it('cannot be read to its end if it is deleted meanwhile', async () => {
    const owner = await owners.ensure('reads')
    await openTurn(owner, 'deleted')
    const content = 'a'.repeat(pieceLength + 1)
    await db.update(messages).set({ content }).where(eq(messages.conversationId, 'deleted'))
    const pieces = conversations.readContent(owner, 'deleted', 'q1')
    expect((await pieces.next()).value).toHaveLength(pieceLength)
    await conversations.remove(owner, 'deleted')
    await expect(pieces.next()).rejects.toThrow('was deleted while it was read')
  })
})

describe('the list of conversations', () => {
  it('contains each conversation once across pages, even if all have the same time', async () => {
    const owner = await owners.ensure('lists')
    const ids = ['b', 'A', '_', 'a', '-', 'B', 'z9', '0']
    for (const id of ids) await openTurn(owner, id)
    await db.update(table).set({ updatedAt: new Date() }).where(eq(table.ownerId, owner))

    const seen: string[] = []
    let after: Cursor | undefined
    do {
      const page = await conversations.list(owner, 3, after)
      seen.push(...page.map(({ id }) => id))
      const last = page.at(-1)
      after = last && { time: last.updatedAt.toISOString(), id: last.id }
    } while (after)
    expect(seen).toHaveLength(ids.length)
    expect(seen.toSorted()).toEqual(ids.toSorted())
  })

  it('puts the newest activity first', async () => {
    const owner = await owners.ensure('orders')
    const times = {
      old: '2026-01-01T00:00:00.001Z',
      newest: '2026-01-01T00:00:00.003Z',
      middle: '2026-01-01T00:00:00.002Z',
    }
    for (const [id, time] of Object.entries(times)) {
      await openTurn(owner, id)
      await db
        .update(table)
        .set({ updatedAt: new Date(time) })
        .where(eq(table.id, id))
    }
    expect((await conversations.list(owner, 10)).map(({ id }) => id)).toEqual(['newest', 'middle', 'old'])
    const after = { time: times.middle, id: 'middle' }
    expect((await conversations.list(owner, 10, after)).map(({ id }) => id)).toEqual(['old'])
  })
})

describe('the messages of a conversation', () => {
  it('are returned newest first, page by page', async () => {
    const owner = await owners.ensure('pages')
    for (const n of [1, 2, 3]) {
      await openTurn(owner, 'c', n)
      const end = { sources: [], finishReason: null, inputTokens: 1, outputTokens: 1, cachedTokens: null, error: null }
      await answers.finish(
        owner,
        { conversationId: 'c', answerId: `a${n}` },
        { ...end, status: 'complete', parts: [{ type: 'text', text: 'an answer' }] },
      )
    }
    const ids = async (limit: number, before?: string) =>
      (await conversations.read(owner, 'c', limit, before))?.messages.map(({ id }) => id)
    expect(await ids(4)).toEqual(['a3', 'q3', 'a2', 'q2'])
    expect(await ids(4, 'q2')).toEqual(['a1', 'q1'])
    expect(await ids(4, 'q1')).toEqual([])
    expect(await ids(4, 'unknown')).toEqual([])
  })
})

describe('removing a conversation', () => {
  it('removes its messages too, and returns true once', async () => {
    const owner = await owners.ensure('removes')
    await openTurn(owner, 'c')
    expect(await conversations.remove(owner, 'c')).toBe(true)
    expect(await conversations.remove(owner, 'c')).toBe(false)
    expect(await conversations.read(owner, 'c', 10)).toBeUndefined()
  })
})

describe('the title', () => {
  it('is changed by renaming, which leaves the order of activity', async () => {
    const owner = await owners.ensure('renames')
    await openTurn(owner, 'c')
    const [before] = await conversations.list(owner, 1)
    expect(await conversations.rename(owner, 'c', 'Herons')).toEqual({ ...before, title: 'Herons' })
    expect(await conversations.list(owner, 1)).toEqual([{ ...before, title: 'Herons' }])
    expect(await conversations.rename(owner, 'unknown', 'Herons')).toBeUndefined()
    expect(await conversations.rename(await owners.ensure('other'), 'c', 'Egrets')).toBeUndefined()
  })

  it('is replaced only while it is the expected one', async () => {
    const owner = await owners.ensure('replaces')
    await openTurn(owner, 'c')
    expect(await conversations.replaceTitle(owner, 'c', 'another title', 'Egrets')).toBe(false)
    expect(await conversations.replaceTitle(owner, 'c', 'a title', 'Herons')).toBe(true)
    expect(await conversations.replaceTitle(owner, 'c', 'a title', 'Egrets')).toBe(false)
    expect((await conversations.list(owner, 1))[0]?.title).toBe('Herons')
  })
})

describe('a rating', () => {
  it('is stored with an answer, replaced and removed', async () => {
    const owner = await owners.ensure('rates')
    await openTurn(owner, 'c')
    const read = async () => {
      const answer = (await conversations.read(owner, 'c', 10))?.messages.find(({ id }) => id === 'a1')
      return [answer?.feedback, answer?.feedbackComment]
    }
    expect(await read()).toEqual([null, null])
    expect(await conversations.rate(owner, 'c', 'a1', { value: 1, comment: 'good' })).toBe(true)
    expect(await read()).toEqual([1, 'good'])
    expect(await conversations.rate(owner, 'c', 'a1', { value: -1, comment: null })).toBe(true)
    expect(await read()).toEqual([-1, null])
    expect(await conversations.rate(owner, 'c', 'a1', null)).toBe(true)
    expect(await read()).toEqual([null, null])
  })

  it('is rejected for questions, and for answers that are unknown or of another owner', async () => {
    const [owner, other] = [await owners.ensure('rates-own'), await owners.ensure('rates-other')]
    await openTurn(owner, 'c')
    const good = { value: 1 as const, comment: null }
    for (const [rater, conversation, id] of [
      [owner, 'c', 'q1'],
      [owner, 'c', 'a2'],
      [owner, 'd', 'a1'],
      [other, 'c', 'a1'],
    ] as const)
      expect(await conversations.rate(rater, conversation, id, good)).toBe(false)
  })
})
