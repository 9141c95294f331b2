import { afterAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
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
  return passages.search(owner, { text, embedding, embeddingModel: model, limit })
}

const texts = (found: { text: string }[]) => found.map(({ text }) => text)

describe('a search', () => {
  it('fuses the ranks of nearest vectors and matching words, best first', async () => {
    const owner = await owners.ensure('fusion')
    await ingest(owner, 'vectors', {
      'nearest, without the word': [1, 0, 0],
      'near, with a lantern': [0.9, 0.1, 0],
      'far, without the word': [0, 1, 0],
    })
    await ingest(owner, 'words', { 'lantern, lantern and lantern': [1, 0] }, 'another model')
    const found = await search(owner, 'lantern')
    expect(found.map(({ text, score }) => [text, score.toFixed(6)])).toEqual([
      ['near, with a lantern', (1 / 62 + 1 / 62).toFixed(6)],
      ...[
        ['nearest, without the word', (1 / 61).toFixed(6)],
        ['lantern, lantern and lantern', (1 / 61).toFixed(6)],
      ].toSorted(byChunkId(found)),
      ['far, without the word', (1 / 63).toFixed(6)],
    ])
    expect(texts(await search(owner, 'lantern', [1, 0, 0], 1))).toEqual(['near, with a lantern'])
  })

  it('tells where a passage comes from', async () => {
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
    })
    expect(chunkId).toMatch(/^[0-9a-f-]{36}$/)
    expect(score).toBeCloseTo(2 / 61)
  })

  it('finds by any word of a question, in any form, also in the heading', async () => {
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

  it('finds nothing of another owner, of another model only by its words', async () => {
    const [owner, other] = [await owners.ensure('one'), await owners.ensure('other')]
    await ingest(other, 'theirs', { 'a sextant of theirs': [1, 0, 0] })
    expect(await search(owner, 'sextant')).toEqual([])
    await ingest(owner, 'old', { 'a sextant of mine': [1, 0, 0] }, 'another model')
    expect(texts(await search(owner, 'sextant'))).toEqual(['a sextant of mine'])
    expect(await search(owner, 'compass')).toEqual([])
  })

  it('is empty for an owner without documents and for an unknown one', async () => {
    expect(await search(await owners.ensure('empty'), 'anything')).toEqual([])
    expect(await search('00000000-0000-0000-0000-000000000000', 'anything')).toEqual([])
  })
})

describe('a search by hostile text', async () => {
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
    expect(found?.score).toBeCloseTo(2 / 61)
  })
})

/** Chunks of equal score are ordered by their id. */
function byChunkId(found: { text: string; chunkId: string }[]) {
  const idOf = (text: string | undefined) => found.find((passage) => passage.text === text)?.chunkId ?? ''
  return ([left]: string[], [right]: string[]) => (idOf(left) < idOf(right) ? -1 : 1)
}
