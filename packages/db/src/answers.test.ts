import { eq } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import type { AnswerEnd } from './answers.ts'
import { toStored } from './parts.ts'
import { type AnswerPart, messages } from './schema.ts'
import { complete, createScene, nextId, text } from './testing-turns.ts'

const { db, owner, owners, turns, answers, conversations, openTurn, answeredTurn, readOne } = await createScene()

/** Makes an answer look as if its process had sent no heartbeat for `ms`. */
const age = (answerId: string, ms: number) =>
  db
    .update(messages)
    .set({ heartbeatAt: new Date(Date.now() - ms) })
    .where(eq(messages.id, answerId))

/** Starts an answer that another process has marked as abandoned. */
async function sweptTurn() {
  const turn = await openTurn()
  await age(turn.answerId, 61_000)
  await answers.interruptAbandoned(60_000)
  expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ status: 'interrupted' })
  return turn
}

describe('finishing an answer', () => {
  it('stores how it ended, once', async () => {
    const turn = await openTurn()
    const sources = [{ n: 1, documentId: 'd', chunkId: 'c', title: "It's", start: 0, end: 9, page: 2 }]
    expect(await answers.finish(owner, turn, { ...complete, sources, model: 'gpt' })).toBe(true)
    expect(await answers.finish(owner, turn, { ...complete, parts: text('late'), status: 'failed' })).toBe(false)
    const stored = await readOne(turn.conversationId, turn.answerId)
    expect(stored).toMatchObject({ content: 'an answer', status: 'complete', sources, model: 'gpt' })
    const tokens = { input: messages.inputTokens, output: messages.outputTokens, cached: messages.cachedTokens }
    const rows = await db.select(tokens).from(messages).where(eq(messages.id, turn.answerId))
    expect(rows).toEqual([{ input: 12, output: 3, cached: 8 }])
  })

  it('accepts an end without a reason and token counts', async () => {
    const turn = await openTurn()
    const end: AnswerEnd = { ...complete, status: 'stopped', finishReason: null, inputTokens: null, outputTokens: null }
    expect(await answers.finish(owner, turn, end)).toBe(true)
  })

  it('stores the full text of an answer that another process marked as abandoned', async () => {
    const turn = await sweptTurn()
    expect(await answers.finish(owner, turn, complete)).toBe(true)
    const stored = await readOne(turn.conversationId, turn.answerId)
    expect(stored).toMatchObject({ content: 'an answer', status: 'complete' })
  })

  it('can be repeated when the caller does not know whether it succeeded', async () => {
    const turn = await openTurn()
    expect(await answers.finish(owner, turn, complete)).toBe(true)
    expect(await answers.finish(owner, turn, complete)).toBe(true)
  })

  it('returns false when the conversation was deleted', async () => {
    const turn = await openTurn()
    await conversations.remove(owner, turn.conversationId)
    expect(await answers.finish(owner, turn, complete)).toBe(false)
  })
})

describe('saving progress', () => {
  it('stores the text of many answers of many owners at once and returns those still running', async () => {
    const bob = await owners.ensure('bob')
    const mine = await openTurn()
    const ended = await answeredTurn()
    const theirs = { ...mine, answerId: nextId('a') }
    await turns.open(bob, theirs)
    const running = await answers.saveProgress([
      { ...mine, owner, start: 0, parts: text('so "far" \\') },
      { ...theirs, owner: bob, start: 0, parts: text('bob’s 😀') },
      { ...ended, owner, start: 0, parts: text('too late') },
      { ...mine, owner, answerId: 'unknown', start: 0, parts: text('nobody’s') },
    ])
    expect(running).toEqual(new Set([mine.answerId, theirs.answerId]))
    expect(await readOne(mine.conversationId, mine.answerId)).toMatchObject({
      content: 'so "far" \\',
      status: 'streaming',
    })
    expect((await conversations.read(bob, mine.conversationId, 1))?.messages[0]).toMatchObject({ content: 'bob’s 😀' })
    expect(await readOne(ended.conversationId, ended.answerId)).toMatchObject({ content: 'answer to a question' })
  })

  it('appends to the stored text; late or repeated progress duplicates and removes nothing', async () => {
    const turn = await openTurn()
    const steps: [number, string, string][] = [
      [0, '😀', '😀'],
      [2, ' one', '😀 one'],
      [6, '', '😀 one'],
      [6, ', two', '😀 one, two'],
      [6, ', two', '😀 one, two'],
      [0, '😀', '😀 one, two'],
      [6, ', two, three', '😀 one, two, three'],
      [6, ', two', '😀 one, two, three'],
    ]
    for (const [start, added, content] of steps) {
      const piece = { ...turn, owner, start, parts: added === '' ? [] : text(added) }
      expect(await answers.saveProgress([piece])).toEqual(new Set([turn.answerId]))
      expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ content })
    }
  })

  it('keeps every kind of part, in order, and stores text once', async () => {
    const turn = await openTurn()
    const parts: AnswerPart[] = [
      { type: 'step-start' },
      { type: 'reasoning', text: 'Hm.' },
      ...text('Let me '),
      ...text('see.'),
      { type: 'tool-call', toolCallId: 'c', toolName: 't', input: { a: ['"', 1, null] } },
      { type: 'tool-result', toolCallId: 'c', output: '😀' },
      ...text('So.'),
    ]
    for (const [start, part] of [0, 1, 4, 11, 15, 16, 17].entries())
      await answers.saveProgress([{ ...turn, owner, start: part, parts: parts.slice(start, start + 1) }])
    const stored = await readOne(turn.conversationId, turn.answerId)
    expect(stored).toMatchObject({ content: 'Let me see.So.', parts: toStored(parts).parts })
    expect(JSON.stringify(stored?.parts)).not.toContain('see')
    await answers.finish(owner, turn, { ...complete, parts })
    expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({
      ...stored,
      status: 'complete',
      finishReason: 'stop',
      inputTokens: 12,
      outputTokens: 3,
      cachedTokens: 8,
    })
  })

  it('continues an answer that another process marked as abandoned', async () => {
    const turn = await sweptTurn()
    const running = await answers.saveProgress([{ ...turn, owner, start: 0, parts: text('still here') }])
    expect(running).toEqual(new Set([turn.answerId]))
    expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ content: 'still here' })
  })

  it.each(['complete', 'interrupted'] as const)(
    'that arrives late adds nothing to an answer that ended as %s',
    async (status) => {
      const turn = await openTurn()
      await answers.finish(owner, turn, { ...complete, status })
      expect(await answers.saveProgress([{ ...turn, owner, start: 0, parts: text(' answer') }])).toEqual(new Set())
      expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ content: 'an answer', status })
    },
  )

  it('does nothing when no answer is running', async () => {
    expect(await answers.saveProgress([])).toEqual(new Set())
  })

  it('stores sources with the text, and keeps them when they are not sent again', async () => {
    const turn = await openTurn()
    const sources = [{ n: 1, documentId: 'd', chunkId: 'c', title: "It's", start: 0, end: 9 }]
    await answers.saveProgress([{ ...turn, owner, start: 0, parts: text('half'), sources }])
    await answers.saveProgress([{ ...turn, owner, start: 4, parts: text(' and half') }])
    expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ content: 'half and half', sources })
  })

  it('skips a row that another client has locked, and stores the others without waiting', async () => {
    const [locked, free] = [await openTurn(), await openTurn()]
    const progress = [locked, free].map((turn) => ({ ...turn, owner, start: 0, parts: text('half') }))
    await db.transaction(async (tx) => {
      await tx.select().from(messages).where(eq(messages.id, locked.answerId)).for('update')
      expect(await answers.saveProgress(progress)).toEqual(new Set([free.answerId]))
    })
    expect(await answers.saveProgress(progress)).toEqual(new Set([locked.answerId, free.answerId]))
    expect(await readOne(locked.conversationId, locked.answerId)).toMatchObject({ content: 'half' })
  })
})

describe('reading answers', () => {
  const start = { position: 0, characters: 0 }

  it('returns the pieces of a running answer that contain something after the position', async () => {
    const characters = Array.from('a😀汉字 👩‍🚀 é\n')
    const turn = await openTurn()
    await answers.saveProgress([{ ...turn, owner, start: 0, parts: text(characters.join('')) }])
    const units = characters.join('').length
    for (let position = 0; position < units + 3; position += 1) {
      expect(await answers.read([{ ...turn, owner, position, characters: 0 }])).toEqual([
        {
          index: 0,
          status: 'streaming',
          sources: [],
          model: null,
          finishReason: null,
          inputTokens: null,
          outputTokens: null,
          cachedTokens: null,
          error: null,
          content: '',
          parts: null,
          pieces: position < units ? [{ start: 0, parts: text(characters.join('')) }] : [],
        },
      ])
    }
  })

  it('returns the content of an ended answer after a position, counted in code points', async () => {
    const characters = Array.from('a😀汉字 👩‍🚀 é\n')
    const turn = await openTurn()
    await answers.finish(owner, turn, { ...complete, parts: text(characters.join('')) })
    for (let count = 0; count < characters.length + 3; count += 1) {
      const [stored] = await answers.read([{ ...turn, owner, position: 0, characters: count }])
      expect(stored).toMatchObject({ status: 'complete', content: characters.slice(count).join(''), pieces: [] })
    }
  })

  it('of many owners, and of one from several positions, says which position each result is for', async () => {
    const bob = await owners.ensure('bob')
    const mine = await openTurn()
    const ended = { ...(await answeredTurn()), owner, position: 0, characters: 'answer '.length }
    const theirs = { ...mine, answerId: nextId('a') }
    await turns.open(bob, theirs)
    const gone = await openTurn()
    await conversations.remove(owner, gone.conversationId)
    await answers.saveProgress([
      { ...mine, owner, start: 0, parts: text('mine') },
      { ...theirs, owner: bob, start: 0, parts: text('theirs') },
    ])
    const stored = await answers.read([
      { ...mine, owner, ...start },
      { ...gone, owner, ...start },
      { ...theirs, owner: bob, ...start },
      { ...mine, owner: bob, ...start },
      { ...mine, owner, answerId: mine.questionId, ...start },
      { ...mine, owner, ...start, position: 4 },
      ended,
    ])
    expect(stored.sort((a, b) => a.index - b.index)).toMatchObject([
      { index: 0, pieces: [{ start: 0, parts: text('mine') }], status: 'streaming' },
      { index: 2, pieces: [{ start: 0, parts: text('theirs') }] },
      { index: 5, pieces: [] },
      { index: 6, content: 'to a question', status: 'complete' },
    ])
    expect(await answers.read([])).toEqual([])
  })

  it('returns why an answer failed', async () => {
    const turn = await openTurn()
    await answers.finish(owner, turn, { ...complete, status: 'failed', error: 'The model failed.' })
    expect(await answers.read([{ ...turn, owner, ...start }])).toMatchObject([
      { status: 'failed', error: 'The model failed.' },
    ])
  })
})

describe('stopping an answer', () => {
  it('is requested from its process, repeatably, and does not end the answer itself', async () => {
    const turn = await openTurn()
    expect(await answers.findRunning(owner, turn.conversationId)).toBe(turn.answerId)
    expect(await answers.listStopRequests()).not.toContain(turn.answerId)
    expect(await answers.requestStop(owner, turn.conversationId)).toBe(turn.answerId)
    expect(await answers.requestStop(owner, turn.conversationId)).toBe(turn.answerId)
    expect(await answers.listStopRequests()).toEqual([turn.answerId])
    expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ status: 'streaming' })
    await answers.finish(owner, turn, { ...complete, status: 'stopped' })
    expect(await answers.listStopRequests()).toEqual([])
  })

  it('does nothing when none is running, and does not affect the next answer', async () => {
    const { conversationId } = await answeredTurn()
    expect(await answers.requestStop(owner, conversationId)).toBeUndefined()
    expect(await answers.requestStop(owner, 'unknown')).toBeUndefined()
    const next = await openTurn(conversationId)
    expect(await answers.listStopRequests()).toEqual([])
    expect(await answers.findRunning(owner, conversationId)).toBe(next.answerId)
  })

  it('on behalf of its process keeps the stored text and leaves ended answers unchanged', async () => {
    const { conversationId, answerId: earlier } = await answeredTurn()
    const turn = await openTurn(conversationId)
    await answers.saveProgress([{ ...turn, owner, start: 0, parts: text('half') }])
    await answers.stopAbandoned(owner, { conversationId, answerId: 'another' })
    expect(await answers.findRunning(owner, conversationId)).toBe(turn.answerId)
    await answers.stopAbandoned(owner, turn)
    await answers.stopAbandoned(owner, turn)
    expect(await readOne(conversationId, turn.answerId)).toMatchObject({ content: 'half', status: 'stopped' })
    expect(await readOne(conversationId, earlier)).toMatchObject({ status: 'complete' })
    expect(await answers.findRunning(owner, conversationId)).toBeUndefined()
    expect(await answers.saveProgress([{ ...turn, owner, start: 0, parts: text('late') }])).toEqual(new Set())
    expect(await answers.finish(owner, turn, { ...complete, status: 'stopped', parts: text('half and half') })).toBe(
      true,
    )
    expect(await readOne(conversationId, turn.answerId)).toMatchObject({ content: 'half and half' })
  })
})

describe('interrupting abandoned answers', () => {
  const silentMs = 60_000

  it('ends those without a heartbeat for longer, keeps their text, and unlocks the conversation', async () => {
    const turn = await openTurn()
    await answers.saveProgress([{ ...turn, owner, start: 0, parts: text('half an ans') }])
    await age(turn.answerId, silentMs + 1000)
    await answers.interruptAbandoned(silentMs)
    const abandoned = await readOne(turn.conversationId, turn.answerId)
    expect(abandoned).toMatchObject({ content: 'half an ans', status: 'interrupted' })
    await openTurn(turn.conversationId)
  })

  it('ends all of them at once, as after the loss of a replica with many answers', async () => {
    const turns = await Promise.all(Array.from({ length: 45 }, () => openTurn()))
    for (const { answerId } of turns) await age(answerId, silentMs + 1000)
    await answers.interruptAbandoned(silentMs)
    const read = await Promise.all(turns.map(({ conversationId, answerId }) => readOne(conversationId, answerId)))
    expect(read.map((answer) => answer?.status)).toEqual(turns.map(() => 'interrupted'))
  })

  it('leaves answers with a recent heartbeat and ended answers unchanged', async () => {
    const [running, saved, ended] = [await openTurn(), await openTurn(), await answeredTurn()]
    for (const { answerId } of [saved, ended]) await age(answerId, silentMs + 1000)
    await answers.saveProgress([{ ...saved, owner, start: 0, parts: text('I live') }])
    await answers.interruptAbandoned(silentMs)
    expect(await readOne(running.conversationId, running.answerId)).toMatchObject({ status: 'streaming' })
    expect(await readOne(saved.conversationId, saved.answerId)).toMatchObject({ status: 'streaming' })
    expect(await readOne(ended.conversationId, ended.answerId)).toMatchObject({ status: 'complete' })
  })

  it('leaves answers alone that send a heartbeat after the clock was stepped forward', async () => {
    const turn = await openTurn()
    await age(turn.answerId, 3_600_000)
    const check = answers.interruptAbandoned(silentMs, 1000)
    await answers.saveProgress([{ ...turn, owner, start: 0, parts: text('I live') }])
    await check
    expect(await readOne(turn.conversationId, turn.answerId)).toMatchObject({ status: 'streaming' })
  })
})
