import { eq, sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import { documents as documentsTable, type Metadata } from './schema.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 4 })
const { documents, owners, passages } = createStore(db)

afterAll(async () => {
  await close()
  await database.drop()
})

const model = `it's a "model"`
const chunk = { heading: '', start: 0, end: 1 }

async function ingest(owner: string, title: string, contents: Record<string, number[]>, embeddingModel = model) {
  const { id } = await documents.add(owner, { title, text: '', contentHash: title })
  const chunks = Object.entries(contents).map(([content, embedding]) => ({ ...chunk, content, embedding }))
  await documents.addChunks(owner, id, embeddingModel, chunks)
  return id
}

async function search(owner: string, text: string, embedding = [1, 0, 0], limit = 10) {
  return passages.search(owner, { text, embedding: JSON.stringify(embedding), embeddingModel: model, limit })
}

const texts = (found: { text: string }[]) => found.map(({ text }) => text)

describe('a search', () => {
  it('fuses nearest vectors and matching words, each from 0 to 1, best first', async () => {
    const owner = await owners.ensure('fusion')
    await ingest(owner, 'vectors', {
      'nearest, without the word': [1, 0, 0],
      'near, with a lantern': [0.6, 0.8, 0],
      'far, without the word': [0, 1, 0],
    })
    await ingest(owner, 'words', { 'lantern, lantern and lantern': [1, 0] }, 'another model')
    const found = await search(owner, 'lantern')
    const [best = 0, other = 0] = found.flatMap(({ textScore }) => textScore ?? []).toSorted((a, b) => b - a)
    expect(found.map(({ text, score }) => [text, score.toFixed(3)])).toEqual([
      ['near, with a lantern', (0.6 + other / best).toFixed(3)],
      ...[
        ['nearest, without the word', '1.000'],
        ['lantern, lantern and lantern', '1.000'],
      ].toSorted(byChunkId(found)),
      ['far, without the word', '0.000'],
    ])
    expect(texts(await search(owner, 'lantern', [1, 0, 0], 1))).toEqual(['near, with a lantern'])
  })

  it('weights the vector score', async () => {
    const owner = await owners.ensure('weight')
    await ingest(owner, 'both', { 'no such word': [1, 0, 0], 'a lantern': [0, 1, 0] })
    const question = { text: 'lantern', embedding: '[1,0,0]', embeddingModel: model, limit: 10 }
    const scores = async (vectorWeight: number) =>
      (await passages.search(owner, { ...question, vectorWeight })).map(({ text, score }) => [text, score])
    expect(await scores(0.25)).toEqual([
      ['a lantern', 1],
      ['no such word', 0.25],
    ])
  })

  it('finds chunks by words when their vector or the query vector is zero', async () => {
    const owner = await owners.ensure('zeros')
    await ingest(owner, 'zeros', { 'a lantern': [0, 0, 0], 'another lamp': [1, 0, 0] })
    expect(texts(await search(owner, 'lantern', [0, 0, 0]))[0]).toBe('a lantern')
    expect((await search(owner, 'lantern')).map(({ score }) => score)).toEqual([1, 1])
  })

  it('finds a document embedded with two models once, by the chunks of the given model', async () => {
    const owner = await owners.ensure('beside')
    const id = await ingest(owner, 'both', { 'a lantern': [1, 0, 0] })
    const content = { title: 'both', text: '', pages: null }
    const other = { ...chunk, content: 'a lantern, cut otherwise', embedding: [1] }
    expect(await documents.addChunksForModel(owner, id, 'another model', [other], content)).toBe(true)
    await ingest(owner, 'older alone', { 'an old lantern': [1] }, 'another model')
    const [first, ...rest] = await search(owner, 'lantern')
    expect([first?.text, first?.vectorRank, texts(rest)]).toEqual(['a lantern', 1, ['an old lantern']])
    const asked = { text: 'lantern', embedding: '[1]', embeddingModel: 'another model', limit: 10 }
    const byOther = await passages.search(owner, asked)
    expect(texts(byOther).toSorted()).toEqual(['a lantern, cut otherwise', 'an old lantern'])
    const byThird = await passages.search(owner, { ...asked, embeddingModel: 'a third' })
    expect(texts(byThird).toSorted()).toEqual(['a lantern, cut otherwise', 'an old lantern'])
  })

  it('returns the origin of a passage', async () => {
    const owner = await owners.ensure('origin')
    const { id } = await documents.add(owner, { title: 'Tides', text: '', contentHash: 'tides' })
    const origin = { heading: 'Tides > Ebb', content: 'It ebbs.', start: 10, end: 18, page: 2 }
    await documents.addChunks(owner, id, model, [{ ...origin, embedding: [1, 0, 0] }])
    const [{ chunkId, score, ...found } = expect.fail('nothing found')] = await search(owner, 'ebb')
    expect(found).toEqual({
      documentId: id,
      title: 'Tides',
      heading: 'Tides > Ebb',
      text: 'It ebbs.',
      start: 10,
      end: 18,
      page: 2,
      vectorRank: 1,
      vectorDistance: 0,
      textRank: 1,
      textScore: expect.any(Number),
    })
    expect(chunkId).toMatch(/^[0-9a-f-]{36}$/)
    expect(score).toBeCloseTo(2)
  })

  it('matches any word of a question, in any inflection, and also in headings', async () => {
    const owner = await owners.ensure('words')
    const { id } = await documents.add(owner, { title: 'Ferries', text: '', contentHash: 'ferries' })
    await documents.addChunks(owner, id, 'another model', [
      { ...chunk, content: 'The ferry leaves at nine.', embedding: [1] },
      { ...chunk, heading: 'Timetables', content: 'Nine, ten.', embedding: [1] },
      { ...chunk, content: 'Nothing of it.', embedding: [1] },
    ])
    const found = await search(owner, 'When do ferries leave, according to the unknown timetable?')
    expect(texts(found).toSorted()).toEqual(['Nine, ten.', 'The ferry leaves at nine.'])
  })

  it('matches inflected words in the language of the document', async () => {
    const owner = await owners.ensure('languages')
    await ingest(owner, 'Fähren', {
      'Die Fähren legen um neun Uhr ab, und die Häuser am Hafen sind noch dunkel.': [0, 1, 0],
    })
    await ingest(owner, 'Ferries', { 'The ferries leave at nine, and the houses are dark.': [0, 1, 0] })
    await ingest(owner, 'Transbordadores', { 'Los transbordadores salen a las nueve de la mañana.': [0, 1, 0] })
    const findByText = async (question: string) =>
      (await search(owner, question)).flatMap(({ title, textRank }) => (textRank === null ? [] : [title]))
    expect(await findByText('Welches Haus ist noch dunkel?')).toEqual(['Fähren'])
    expect(await findByText('Which house is dark?')).toEqual(['Ferries'])
    expect(await findByText('¿Cuándo sale el transbordador?')).toEqual(['Transbordadores'])
    expect(await findByText('transbordador')).toEqual(['Transbordadores'])
  })

  it('applies the metadata filter in both retrievers', async () => {
    const owner = await owners.ensure('filter')
    const crowd = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`lantern ${n}`, [1, 0, 0]]))
    await ingest(owner, 'crowd', crowd)
    const id = await ingest(owner, 'wanted', { 'a lantern of ours': [0.5, 0.5, 0], 'nothing like it': [0, 1, 0] })
    await db
      .update(documentsTable)
      .set({ metadata: { team: 'ops', year: 2026 } })
      .where(eq(documentsTable.id, id))
    const find = async (filter: Metadata) =>
      texts(
        await passages.search(owner, {
          text: 'lantern',
          embedding: JSON.stringify([1, 0, 0]),
          embeddingModel: model,
          limit: 10,
          scope: { filter },
        }),
      )
    expect(await find({ team: 'ops' })).toEqual(['a lantern of ours', 'nothing like it'])
    expect(await find({ team: 'ops', year: 2026 })).toHaveLength(2)
    expect(await find({ team: 'ops', year: 2025 })).toEqual([])
    expect(await find({})).toHaveLength(10)
  })

  it('weights rare words higher than common ones', async () => {
    const owner = await owners.ensure('rarity')
    const crowd = Array.from({ length: 80 }, (_, n) => [`the boat, the boat and the boat, number ${n}`, [1, 0, 0]])
    await ingest(owner, 'crowd', Object.fromEntries(crowd), 'another model')
    await ingest(owner, 'rare', { 'a zyzzyva was seen once': [0, 1, 0] }, 'another model')
    expect(texts(await search(owner, 'boat zyzzyva'))[0]).toBe('a zyzzyva was seen once')
  })

  it('falls back to common words when the rare word does not occur', async () => {
    const owner = await owners.ensure('common')
    const crowd = Array.from({ length: 400 }, (_, n) => [`a boat and a sail, number ${n}`, [1, 0]])
    await ingest(owner, 'crowd', { ...Object.fromEntries(crowd), 'a boat and an anchor': [1, 0] }, 'another model')
    await db.execute(sql`analyze chunks`)
    expect(texts(await search(owner, 'zyzzyva boat anchor'))[0]).toBe('a boat and an anchor')
    expect(await search(owner, 'zyzzyva boat sail')).toHaveLength(10)
    expect(await search(owner, 'zyzzyva boat')).toHaveLength(10)
  })

  it('scores term frequency and chunk length like BM25', async () => {
    const owner = await owners.ensure('bm25')
    const passages = { 'oar oar oar': [1, 0], 'oar sail': [1, 0], 'oar mast keel rope plank': [1, 0], tar: [1, 0] }
    await ingest(owner, '', passages, 'another model')
    const rarity = Math.log(1 + (4 - 3 + 0.5) / (3 + 0.5)) // 3 of 4 chunks contain the word
    const score = (count: number, length: number) =>
      (rarity * count * 2.2) / (count + 1.2 * (0.25 + (0.75 * length) / 60))
    const found = await search(owner, 'oar')
    expect(texts(found)).toEqual(['oar oar oar', 'oar sail', 'oar mast keel rope plank'])
    const expected = [score(3, 3), score(1, 2), score(1, 5)]
    for (const [index, { textScore }] of found.entries()) expect(textScore).toBeCloseTo(expected[index] ?? 0, 3)
  })

  it('never finds chunks of other owners, and matches chunks of other models by words only', async () => {
    const [owner, other] = [await owners.ensure('one'), await owners.ensure('other')]
    await ingest(other, 'theirs', { 'a sextant of theirs': [1, 0, 0] })
    expect(await search(owner, 'sextant')).toEqual([])
    await ingest(owner, 'old', { 'a sextant of mine': [1, 0, 0] }, 'another model')
    expect(texts(await search(owner, 'sextant'))).toEqual(['a sextant of mine'])
    expect(await search(owner, 'compass')).toEqual([])
  })

  it('returns nothing for an owner without documents or an unknown one', async () => {
    expect(await search(await owners.ensure('empty'), 'anything')).toEqual([])
    expect(await search('00000000-0000-0000-0000-000000000000', 'anything')).toEqual([])
  })
})

describe('a search with hostile text', async () => {
  const owner = await owners.ensure('hostile')
  await ingest(owner, 'hostile', { "O'Brien & Söhne | 潮汐表 !": [1, 0, 0] })

  const queries = {
    quotes: `'; drop table chunks; -- " '' \\'`,
    operators: 'a & b | !c <-> d:* (e',
    'operators alone': '& | ! : * ( ) \\ <->',
    'a lone backslash': '\\',
    'stop words': 'what is the of a',
    nothing: '',
    spaces: ' \t\n ',
    'a URL with a backslash': "http://example.org/a\\b'c ftp://x/\\",
    'a URL and a path': "https://example.org/a&b?c='d' /etc/pass|wd a-b-c x@y.z 1e-5 <b>&amp;</b>",
    'a document’s worth': 'unsinkable '.repeat(20_000),
    'many different words': Array.from({ length: 20_000 }, (_, n) => `word${n}`).join(' '),
    'one very long word': 'x'.repeat(100_000),
    emoji: '👩‍👩‍👧 \uFFFD',
  }

  it.each(Object.entries(queries))('still finds the nearest vector: %s', async (_, text) => {
    expect(await search(owner, text)).toMatchObject([{ text: "O'Brien & Söhne | 潮汐表 !" }])
  })

  it.each(["o'brien", 'Söhne!', '潮汐表', `"O'Brien" & (`])('still finds by its words: %s', async (text) => {
    const [found] = await search(owner, text)
    expect(found?.score).toBeCloseTo(2)
  })
})

/** Sorts like the search, which orders chunks of equal score by id. */
function byChunkId(found: { text: string; chunkId: string }[]) {
  const idOf = (text: string | undefined) => found.find((passage) => passage.text === text)?.chunkId ?? ''
  return ([left]: string[], [right]: string[]) => (idOf(left) < idOf(right) ? -1 : 1)
}
