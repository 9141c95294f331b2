import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import type { StoredFile, StoredPart } from './schema.ts'
import { complete, createScene, nextId } from './testing-turns.ts'

const { db, owner, owners, turns, answers, conversations, messageFiles, readOne } = await createScene()
const pieceLength = 256 * 1024

/** Returns the parts and files of a question whose images have these URLs. */
function attach(...urls: string[]) {
  const files = urls.map((url) => ({ id: crypto.randomUUID(), url }))
  const parts: StoredPart[] = files.map(({ id, url }) => toPart(id, url))
  return { files, parts: [...parts, { type: 'text' as const, length: 'a question'.length }] }
}

function toPart(id: string, url: string): StoredFile {
  return { type: 'file', id, mediaType: 'image/png', length: url.length }
}

async function openWith(attached: ReturnType<typeof attach>, conversationId = nextId('c')) {
  const ids = { questionId: nextId('q'), answerId: nextId('a') }
  const turn = { conversationId, title: 't', ...ids, question: 'a question', ...attached }
  const past = await turns.open(owner, turn)
  await answers.finish(owner, turn, complete)
  return { turn, past }
}

const readUrl = async (id: string, url: string, reader = owner) => {
  const pieces: string[] = []
  for await (const piece of messageFiles.readUrl(reader, toPart(id, url))) pieces.push(piece)
  return pieces
}
const count = async (conversationId: string) => {
  const rows = await db.execute(sql`select number from message_files where conversation_id = ${conversationId}`)
  return rows.length
}

describe('the files of a question', () => {
  it.each([1, pieceLength - 1, pieceLength, pieceLength + 1, 2 * pieceLength])(
    'are read in pieces that make up all of their %i characters',
    async (length) => {
      const [url, other] = ['a'.repeat(length), 'b']
      const { turn } = await openWith(attach(other, url))
      const pieces = await readUrl(turn.files[1]?.id ?? '', url)
      expect(pieces.join('') === url).toBe(true)
      expect(Math.max(...pieces.map((piece) => piece.length))).toBeLessThanOrEqual(pieceLength)
      expect(await readUrl(turn.files[0]?.id ?? '', other)).toEqual([other])
      expect((await readOne(turn.conversationId, turn.questionId))?.parts).toEqual(turn.parts)
    },
  )

  it('cannot be read by another owner, or to their end if they are deleted meanwhile', async () => {
    const url = 'a'.repeat(pieceLength + 1)
    const { turn } = await openWith(attach(url))
    const id = turn.files[0]?.id ?? ''
    await expect(readUrl(id, url, await owners.ensure('mallory'))).rejects.toThrow('deleted')
    const pieces = messageFiles.readUrl(owner, toPart(id, url))
    await pieces.next()
    await conversations.remove(owner, turn.conversationId)
    await expect(pieces.next()).rejects.toThrow('The file was deleted while it was read.')
    expect(await count(turn.conversationId)).toBe(0)
  })

  it('are stored with the question or not at all', async () => {
    const { turn } = await openWith(attach('a'))
    const again = { ...turn, ...attach('b'), answerId: nextId('a') }
    await expect(turns.open(owner, again)).rejects.toMatchObject({ code: 'message_exists' })
    const broken = { ...turn, ...attach('b', '\0'), questionId: nextId('q'), answerId: nextId('a') }
    await expect(turns.open(owner, broken)).rejects.toThrow()
    expect(await count(turn.conversationId)).toBe(1)
    expect(await readOne(turn.conversationId, broken.questionId)).toBeUndefined()
  })

  it('are kept when the turn is reopened, and replaced or removed with its text', async () => {
    const { turn } = await openWith(attach('a'))
    const reopen = async (changed: Partial<typeof turn>) => {
      const { files: _, parts: __, question: ___, ...kept } = turn
      const next = { ...kept, answerId: nextId('a'), ...changed }
      const reopened = await turns.reopen(owner, next)
      await answers.finish(owner, next, complete)
      return reopened?.parts
    }
    expect(await reopen({})).toEqual(turn.parts)
    expect(await count(turn.conversationId)).toBe(1)
    const edited = attach('b', 'c')
    expect(await reopen({ question: 'a question', ...edited })).toEqual(edited.parts)
    expect(await readUrl(edited.files[1]?.id ?? '', 'c')).toEqual(['c'])
    expect(await count(turn.conversationId)).toBe(2)
    expect(await reopen({ question: 'only text' })).toBeNull()
    expect(await count(turn.conversationId)).toBe(0)
  })

  it('are not stored if another answer runs when the turn is reopened', async () => {
    const { turn } = await openWith(attach('a'))
    const running = { ...turn, questionId: nextId('q'), answerId: nextId('a'), files: [], parts: undefined }
    await turns.open(owner, running)
    const again = turns.reopen(owner, { ...turn, ...attach('b'), answerId: nextId('a') })
    await expect(again).rejects.toMatchObject({ code: 'answer_running' })
    expect(await readUrl(turn.files[0]?.id ?? '', 'a')).toEqual(['a'])
  })

  it('count as text of 4,000 bytes each in the history', async () => {
    const { turn } = await openWith(attach('a', 'b'))
    const { past } = await openWith(attach('c'), turn.conversationId)
    expect(past).toMatchObject([
      { role: 'assistant', start: 8010 },
      { role: 'user', content: 'a question', parts: turn.parts, start: 0, size: 8010 },
    ])
  })
})
