import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { text as readText } from 'node:stream/consumers'
import { connect, createStore, sql } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { createLlm, type Embedder } from '@repo/llm'
import { createTestModels } from '@repo/testing/test-models'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { ingestDocument, processDocument } from './ingest.ts'
import type { PostedFile } from './posted-file.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 4 })
const store = createStore(db)
const owner = await store.owners.ensure('ada')

const modelOptions = { beforeCall: () => {}, firstByteTimeoutMs: 5000, idleTimeoutMs: 5000 }
const closedPort = 'http://127.0.0.1:9/v1'
const fallback = createTestModels()
const { embedder } = fallback
const broken = createLlm({ ...modelOptions, fallback, baseUrl: closedPort, embeddingModel: 'away' }).embedder

afterAll(async () => {
  await close()
  await database.drop()
})

const ingest = (document: { title: string; text: string }) => ingestDocument({ store, embedder }, owner, document)
const listChunks = async (id: string) => [
  ...(await db.execute<{ heading: string; content: string; start: number; end: number }>(
    sql`select heading, content, start, "end" from chunks where document_id = ${id} order by start`,
  )),
]

describe('ingesting a document', () => {
  it('makes it ready, with chunks whose positions match its text', async () => {
    const text = '# Ebb\n\nThe tide turns.\n\n### Flood\n\nIt comes back.'
    const document = await ingest({ title: 'Tides', text })
    expect(document).toMatchObject({ title: 'Tides', status: 'ready', error: null })
    expect(await store.documents.find(owner, document.id)).toEqual(document)
    const chunks = await listChunks(document.id)
    expect(chunks).toMatchObject([
      { heading: 'Tides > Ebb', content: 'The tide turns.' },
      { heading: 'Tides > Ebb > Flood', content: 'It comes back.' },
    ])
    for (const { content, start, end } of chunks) expect(content).toBe(text.slice(start, end))
  })

  it('happens once for the same content, even with five concurrent calls', async () => {
    const content = { title: 'Once', text: 'Only once.' }
    const documents = await Promise.all(Array.from({ length: 5 }, () => ingest(content)))
    const again = await ingestDocument({ store, embedder: broken }, owner, content) // nothing is left to embed
    expect(new Set([...documents, again].map(({ id, status }) => `${id} ${status}`)).size).toBe(1)
    expect(await listChunks(again.id)).toHaveLength(1)
    expect(await ingest({ ...content, title: 'Twice' })).not.toMatchObject({ id: again.id })
  })

  it('changes nothing when another worker finishes the document while its upload is read', async () => {
    const content = { title: 'Raced', text: 'Only one of two stores this.' }
    const document = await store.documents.add(owner, { ...content, contentHash: 'raced' })
    const extract = async ({ parts }: PostedFile) => {
      await processDocument({ store, embedder }, owner, document)
      return { text: await readText(Readable.from(parts)) }
    }
    await processDocument({ store, embedder, extract }, owner, document)
    expect(await store.documents.find(owner, document.id)).toMatchObject({ status: 'ready', error: null })
    expect(await listChunks(document.id)).toHaveLength(1)
  })

  it('keeps it as failed with the reason while the embedder cannot be reached, until it is posted again', async () => {
    const content = { title: 'Later', text: 'Not yet.' }
    const failed = await ingestDocument({ store, embedder: broken }, owner, content)
    expect(failed).toMatchObject({ status: 'failed', error: expect.stringMatching(/\w+ \w+/) })
    expect(await store.documents.find(owner, failed.id)).toEqual(failed)
    expect(await listChunks(failed.id)).toEqual([])

    const ready = { ...failed, status: 'ready', progress: 1, error: null }
    expect(await ingest(content)).toEqual(ready)
    expect(await store.documents.find(owner, failed.id)).toEqual(ready)
    expect(await listChunks(failed.id)).toHaveLength(1)
  })

  it('fails with advice and stops embedding when there are too many sections', async () => {
    const { embedder: watched, batches } = watch(embedder)
    const content = { title: 'Splinters', text: '# a\nb\n'.repeat(100_000) }
    const document = await ingestDocument({ store, embedder: watched }, owner, content)
    expect(document).toMatchObject({ status: 'failed', error: expect.stringContaining('several documents') })
    expect(batches.reduce((sum, { texts }) => sum + texts, 0)).toBeLessThanOrEqual(4000)
    expect(await listChunks(document.id)).toEqual([])
  })

  it('yields to the event loop between two batches', async () => {
    const { embedder: watched, batches } = watch(embedder)
    await ingestDocument({ store, embedder: watched }, owner, { title: 'Short', text: '# a\nb\n'.repeat(640) })
    expect(batches).toHaveLength(10)
    expect(new Set(batches.map(({ turns }) => turns)).size).toBe(10)
  })

  it('accepts a text of one megabyte', async () => {
    const text = 'The tide turns twice a day, and the harbour master writes it down. '.repeat(15_000)
    const document = await ingest({ title: 'Long', text })
    expect(document.status).toBe('ready')
    const chunks = await listChunks(document.id)
    expect(chunks.length).toBeGreaterThan(800)
    expect(chunks.map(({ content }) => content).join(' ')).toBe(text.trim())
  })
})

describe('after a change of the embedding model', () => {
  const other = { ...embedder, name: 'other' }
  const listModels = async (id: string) => [
    ...(await db.execute(sql`select embedding_model from chunks where document_id = ${id}`)).flatMap(Object.values),
  ]
  /** Searches for a word that is in no chunk, so that only the vector can find the document. */
  const findsByVector = async (by: Pick<Embedder, 'name' | 'embed'>, { id, title }: { id: string; title: string }) => {
    const [vector = []] = await by.embed([title])
    const embedding = JSON.stringify(vector)
    const found = await store.passages.search(owner, { text: 'xyzzy', embedding, embeddingModel: by.name, limit: 50 })
    return found.some(({ documentId }) => documentId === id)
  }

  it('a document that is posted again is embedded once with the new model, even with three concurrent calls', async () => {
    const content = { title: 'Moved', text: '# Ebb\n\nOut.\n\n# Flood\n\nIn.' }
    const { id, title } = await ingest(content)
    expect(await findsByVector(other, { id, title })).toBe(false)
    const again = () => ingestDocument({ store, embedder: other }, owner, content)
    for (const document of await Promise.all([again(), again(), again()]))
      expect(document).toMatchObject({ id, status: 'ready', error: null })
    expect(await listModels(id)).toEqual(['other', 'other'])
    expect(await findsByVector(other, { id, title })).toBe(true)
  })

  it('a document stays ready and searchable if the new model fails', async () => {
    const content = { title: 'Stays', text: 'Still there.' }
    const ready = await ingest(content)
    expect(await ingestDocument({ store, embedder: broken }, owner, content)).toEqual(ready)
    expect(await store.documents.find(owner, ready.id)).toEqual(ready)
    expect(await listModels(ready.id)).toEqual([embedder.name])
    expect(await findsByVector(embedder, ready)).toBe(true)
  })
})

it('keeps a document as failed if the database rejects its vectors, until it is posted again', async () => {
  const content = { title: 'Overflow', text: 'Too large.' }
  const tooLarge = { name: 'too-large', embed: async (texts: string[]) => texts.map(() => Array(384).fill(1e6)) }
  await expect(ingestDocument({ store, embedder: tooLarge }, owner, content)).rejects.toThrow()
  const [failed] = await store.documents.list(owner, 1)
  expect(failed).toMatchObject({ title: 'Overflow', status: 'failed', error: expect.stringContaining('again') })
  expect(await ingest(content)).toEqual({ ...failed, status: 'ready', progress: 1, error: null })
})

/** Starts an embedding server that returns vectors, unless `refuse` has responded. */
async function startEmbedder(name: string, refuse: (input: string[], response: ServerResponse) => boolean) {
  const server = createServer(async (request, response) => {
    const { input }: { input: string[] } = JSON.parse(await readText(request))
    if (refuse(input, response)) return
    response.end(JSON.stringify({ data: input.map(() => ({ embedding: [1, 0] })) }))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => void server.close())
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const baseUrl = `http://127.0.0.1:${port}/v1`
  return createLlm({ ...modelOptions, fallback, baseUrl, embeddingModel: `${name}-${port}` }).embedder
}

describe('an overloaded embedding server', () => {
  const fourBatches = { title: 'Long', text: '# a\nb\n'.repeat(200) }

  /** Starts a server that postpones the second batch `times` times. */
  async function startBusy(times: number, retryAfter: string | undefined, status = 429) {
    const sizes: number[] = []
    const embedder = await startEmbedder('busy', (input, response) => {
      const isPostponed = sizes.push(input.length) > 1 && sizes.length <= 1 + times
      if (isPostponed) response.writeHead(status, retryAfter ? { 'retry-after': retryAfter } : {}).end()
      return isPostponed
    })
    return { embedder, sizes }
  }

  it.each([
    { name: '429 with Retry-After', status: 429, retryAfter: '1', times: 2, waitedMs: 2000 },
    { name: '429 without', status: 429, retryAfter: undefined, times: 1, waitedMs: 500 },
    { name: '503', status: 503, retryAfter: '0', times: 5, waitedMs: 0 },
  ])('receives only the postponed batch again ($name)', async (row) => {
    const { name, status, retryAfter, times, waitedMs } = row
    const { embedder, sizes } = await startBusy(times, retryAfter, status)
    const startedAt = performance.now()
    const content = { ...fourBatches, title: name }
    expect(await ingestDocument({ store, embedder }, owner, content)).toMatchObject({ status: 'ready' })
    expect(sizes).toEqual([64, ...Array.from({ length: times }, () => 64), 64, 64, 8])
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(waitedMs)
  })

  it('is left to the queue when it postpones a batch for an hour', async () => {
    const { embedder, sizes } = await startBusy(1, '3600')
    const content = { ...fourBatches, title: 'An hour' }
    expect(await ingestDocument({ store, embedder }, owner, content)).toMatchObject({ status: 'failed' })
    expect(sizes).toEqual([64, 64])
  })
})

describe('an embedding server that rejects long texts', () => {
  /** Starts a server that rejects texts of more than `limit` characters, and other requests with more than 8 texts. */
  async function startLimited(limit: number, status: number, error: object = {}) {
    const requests: string[][] = []
    const embedder = await startEmbedder('limited', (input, response) => {
      requests.push(input)
      const isRejected = input.length > 8 || input.some((text) => text.length > limit)
      if (isRejected) response.writeHead(status).end(JSON.stringify(error))
      return isRejected
    })
    return { embedder, requests }
  }
  const text = `# Ebb\n\n${'The tide turns twice a day. '.repeat(200)}\n\n# Flood\n\nIt comes back.`

  it.each([
    { status: 400, error: {} },
    { status: 413, error: {} },
    { status: 422, error: {} },
    { status: 500, error: { error: { message: 'input (1500 tokens) is too large to process' } } },
  ])('receives smaller chunks, which together hold the text ($status)', async ({ status, error }) => {
    const { embedder } = await startLimited(500, status, error)
    const document = await ingestDocument({ store, embedder }, owner, { title: `Limited ${status}`, text })
    expect(document).toMatchObject({ status: 'ready', error: null })
    const chunks = await listChunks(document.id)
    const words = (value: string) => value.replaceAll(/# \w+|\s+/g, '')
    expect(words(chunks.map(({ content }) => content).join(''))).toBe(words(text))
    for (const { heading, content, start, end } of chunks) {
      expect(content).toBe(text.slice(start, end))
      expect(content).toMatch(/^(The|It).*\.$/s) // cut between sentences
      expect(`${heading}\n${content}`.length).toBeLessThanOrEqual(500)
    }
  })

  it('is given up when it rejects what every model accepts, after a few requests', async () => {
    const { embedder, requests } = await startLimited(0, 400)
    const failed = await ingestDocument({ store, embedder }, owner, { title: 'Rejected', text })
    expect(failed).toMatchObject({ status: 'failed' })
    expect(requests.length).toBeLessThan(30)
  })

  it('receives no smaller chunks when it rejects something else', async () => {
    const { embedder, requests } = await startLimited(0, 401)
    const failed = await ingestDocument({ store, embedder }, owner, { title: 'Unauthorized', text })
    expect(failed).toMatchObject({ status: 'failed', error: expect.stringContaining('API key') })
    expect(requests).toHaveLength(1)
  })
})

const llamaUrl = process.env.LLAMA_EMBEDDINGS_URL

it('a real llama.cpp server embeds a document whose chunks exceed its batch', async ({ skip }) => {
  if (!llamaUrl) skip('needs LLAMA_EMBEDDINGS_URL, the base URL of a llama.cpp server with --embeddings')
  const { embedder } = createLlm({ ...modelOptions, fallback, baseUrl: `${llamaUrl}`, embeddingModel: 'table' })
  const text = 'The tide turns twice a day. '.repeat(200)
  const document = await ingestDocument({ store, embedder }, owner, { title: 'Llama', text })
  expect(document).toMatchObject({ status: 'ready', error: null })
  expect(JSON.parse(await embedder.embedQuery(text))).toEqual(expect.arrayContaining([expect.any(Number)]))
})

/** Wraps the embedder and records, for each call, the number of texts and of event loop iterations so far. */
function watch({ name, embed }: Pick<Embedder, 'name' | 'embed'>) {
  const batches: { texts: number; turns: number }[] = []
  let turns = 0
  const count = () => {
    turns += 1
    next = setImmediate(count)
  }
  let next = setImmediate(count)
  onTestFinished(() => clearImmediate(next))
  const watched: Pick<Embedder, 'name' | 'embed'> = {
    name,
    embed: (texts) => {
      batches.push({ texts: texts.length, turns })
      return embed(texts)
    },
  }
  return { embedder: watched, batches }
}
