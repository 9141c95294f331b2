import { afterAll, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const { app, alice, work, close } = await testApp()
afterAll(close)

const search = async (query: string) => (await app.inject({ url: `/search?${query}`, headers: alice })).json()

const texts = ['The harbour opens at dawn.', 'Harbour fees are paid at the office.', 'Cats sleep in the sun.']
for (const text of texts) {
  await app.inject({ method: 'POST', url: '/documents', headers: alice, payload: { title: `On ${text}`, text } })
}
await work()

it('returns the best passages first, each with its document, text and score', async () => {
  const { items } = await search('q=harbour+fees')
  expect(items[0]).toEqual({
    documentId: expect.any(String),
    chunkId: expect.any(String),
    title: 'On Harbour fees are paid at the office.',
    text: 'Harbour fees are paid at the office.',
    score: expect.any(Number),
  })
  const scores = items.map(({ score }: { score: number }) => score)
  expect(scores).toEqual(scores.toSorted((a: number, b: number) => b - a))
})

it('returns at most k passages', async () => {
  expect((await search('q=harbour&k=1')).items).toHaveLength(1)
})

it('returns with explain=1 the rank of each passage in each retriever', async () => {
  const { items } = await search('q=harbour+fees&explain=1')
  expect(items[0].ranking).toEqual({
    vector: { rank: 1, distance: expect.any(Number) },
    text: { rank: 1, score: expect.any(Number) },
  })
  // This text shares no word with the query, so only the vector retriever finds it.
  const cats = items.find(({ text }: { text: string }) => text.startsWith('Cats'))
  expect(cats.ranking).toEqual({ vector: { rank: 3, distance: expect.any(Number) }, text: { rank: null, score: null } })
  expect(cats.ranking.vector.distance).toBeGreaterThan(items[0].ranking.vector.distance)
  expect((await search('q=harbour+fees&explain=0')).items[0]).not.toHaveProperty('ranking')
})

it('returns only documents whose metadata matches the filter', async () => {
  const payload = { title: 'Ops', text: 'The harbour of ops.', metadata: { team: 'ops', year: 2026 } }
  await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
  await work()
  const find = async (filter: string) =>
    (await search(`q=harbour&filter=${encodeURIComponent(filter)}`)).items.map(({ title }: { title: string }) => title)
  expect(await find('{"team":"ops"}')).toEqual(['Ops'])
  expect(await find('{"team":"ops","year":2026}')).toEqual(['Ops'])
  expect(await find('{"team":"dev"}')).toEqual([])
  expect(await find('{"team\\u0000":"\\u0000"}')).toEqual([])
  await app.inject({
    method: 'POST',
    url: '/documents',
    headers: alice,
    payload: { ...payload, metadata: { team: 'dev' } },
  })
  expect(await find('{"team":"dev"}')).toEqual(['Ops'])
})

it('returns only the documents with the given ids', async () => {
  const { items } = await search('q=harbour')
  const ids = [...new Set(items.map(({ documentId }: { documentId: string }) => documentId))]
  expect(ids.length).toBeGreaterThan(2)
  const found = (await search(`q=harbour&documentIds=${ids[0]},${ids[1]},${crypto.randomUUID()}`)).items
  expect(new Set(found.map(({ documentId }: { documentId: string }) => documentId))).toEqual(new Set(ids.slice(0, 2)))
})

it.each([
  ['q=', '/q'],
  ['q=a&filter=team', '/filter'],
  ['q=a&filter=%5B%5D', '/filter'],
  ['q=a&filter=%7B%22a%22:%7B%7D%7D', '/filter'],
  ['q=a&documentIds=', '/documentIds/0'],
  [`q=a&documentIds=${Array.from({ length: 51 }, () => crypto.randomUUID())}`, '/documentIds'],
  ['q=a&explain=yes', '/explain'],
  ['q=%20', '/q'],
  ['', '/q'],
  [`q=${'a'.repeat(4001)}`, '/q'],
  ['q=a&k=0', '/k'],
  ['q=a&k=51', '/k'],
  ['q=a&k=1.5', '/k'],
  ['q=a&q=b', '/q'],
])('400 for ?%s', async (query, path) => {
  expect(await search(query)).toMatchObject({ status: 400, code: 'invalid_request', errors: [{ path }] })
})

it.each(["'; drop table chunks; --", 'a & ! | <-> :*', '\\', '%_', '\0', '🏊'.repeat(2000)])(
  'accepts any text: %j',
  async (text) => {
    expect(await search(`q=${encodeURIComponent(text)}`)).toHaveProperty('items')
  },
)

it('says that passages were found by keyword only when the embedder is down', async () => {
  expect(await search('q=harbour')).not.toHaveProperty('degraded')
  const environment = { EMBEDDING_BASE_URL: 'http://127.0.0.1:9', EMBEDDING_MODEL: 'missing' } // nothing listens there
  const { app, alice, close } = await testApp({ environment })
  const response = await app.inject({ url: '/search?q=harbour', headers: alice })
  await close()
  expect(response.statusCode).toBe(200)
  expect(response.json()).toEqual({ items: [], degraded: 'keywords_only' })
})
