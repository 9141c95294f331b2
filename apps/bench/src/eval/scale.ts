import { availableParallelism } from 'node:os'
import { connect, createStore, type Db, type Store, sql } from '@repo/db'
import { migrate } from '@repo/db/migrate'
import { retrievePassages } from '@repo/rag'
import { createRandom } from '@repo/testing/random'
import { findPids, measureUsage } from '../watch/processes.ts'
import { type Collection, readCollection } from './collection.ts'
import type { Target } from './search-collection.ts'

/** Enough chunks per document that documents themselves cost little. */
const chunksPerDocument = 50
const chunksOfMember = 10
const concurrency = 20
/** The default of an API process. */
const poolSize = 10
const searches = 2000
const [depth, candidateCount] = [10, 50]
/** Shares of documents that match the filter, in percent. */
const shares = [1, 10, 100]

type Scaled = { db: Db; store: Store; owner: string; organization?: string; questions: string[] } & Target

/**
 * Fills an owner with `count` chunks, mixed from the collection's sentences. Prints the recall of the vector retriever
 * with filters compared to exact search, then the cost of 20 concurrent searches. `home` is the folder of the stack. With
 * `members`, prints the same for a member of an organization that shares as many chunks.
 */
export async function runScale(
  folder: string,
  { chunks: count, members = 0 }: { chunks: number; members?: number | undefined },
  target: Target,
  home: string,
): Promise<void> {
  const collection = await readCollection(folder)
  await migrate({ directUrl: target.directDatabaseUrl })
  const { db, close } = connect({ url: target.databaseUrl, poolSize })
  try {
    const store = createStore(db)
    const owner = await store.owners.ensure('scale')
    const scaled = { ...target, db, store, owner, questions: collection.queries.map(({ text }) => text) }
    await fill(scaled, collection, count)
    const { owner: member, organization = '' } = await store.owners.ensureMember('member 0', 'scale')
    if (members > 0) await fill({ ...scaled, owner: organization }, collection, count, 2)
    for (let n = 0; n < members; n += 1)
      await fill({ ...scaled, owner: await store.owners.ensure(`member ${n}`) }, collection, chunksOfMember, 3 + n)
    const [probe = []] = await target.embedder.embed(['How wide is a vector?'])
    const startedAt = performance.now()
    await migrate({
      directUrl: target.directDatabaseUrl,
      embedder: { model: target.embedder.name, dimensions: probe.length },
    })
    console.log(`${count} chunks, index built in ${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
    await db.execute(sql`vacuum analyze chunks, documents`)
    for (const share of shares) await printRecall(scaled, share, probe.length)
    await printCosts(scaled, home)
    if (members === 0) return
    const asMember = { ...scaled, owner: member, organization }
    console.log(`a member of an organization, ${members} members with ${chunksOfMember} chunks each:`)
    for (const share of shares) await printRecall(asMember, share, probe.length)
    await printCosts(asMember, home)
  } finally {
    await close()
  }
}

async function fill(
  { store, db, owner, embedder }: Scaled,
  { documents }: Collection,
  count: number,
  seed = 1,
): Promise<void> {
  const sentences = documents.flatMap(({ text }) => text.match(/[^.]{20,300}\./g) ?? [])
  const random = createRandom(seed)
  const write = () =>
    Array.from({ length: 5 }, () => sentences[Math.floor(random() * sentences.length)] ?? '').join(' ')
  for (let n = 0; n < Math.ceil(count / chunksPerDocument); n += 1) {
    const title = `Document ${n}`
    const { id } = await store.documents.add(owner, { title, text: '', contentHash: title })
    const contents = Array.from({ length: Math.min(count, chunksPerDocument) }, write)
    const vectors = await embedder.embed(contents)
    const chunks = contents.map((content, index) => ({ content, embedding: vectors[index] ?? [] }))
    const location = { heading: title, start: 0, end: 1 }
    await store.documents.addChunks(
      owner,
      id,
      embedder.name,
      chunks.map((chunk) => ({ ...chunk, ...location })),
    )
  }
  // Every hundredth document is in all three shares.
  await db.execute(sql`
    update documents set metadata = (
      select jsonb_object_agg('share' || share, true) from unnest(array[1, 10, 100]) as share
      where substring(title from '\\d+')::int % (100 / share) = 0)`)
}

/** Prints how many of the ten nearest chunks by exact search are among the first ten of the vector retriever. */
async function printRecall(
  { db, store, owner, organization, embedder, questions }: Scaled,
  share: number,
  width: number,
) {
  const filter = { [`share${share}`]: true }
  const vector = sql.raw(`halfvec(${width})`)
  let [found, wanted] = [0, 0]
  for (const question of questions) {
    const embedding = await embedder.embedQuery(question)
    const exact = await db.execute<{ distance: number }>(sql`
      select (embedding::${vector} <=> ${embedding}::${vector}) + 0 as distance from chunks
      where owner_id in (${owner}, ${organization ?? owner}) and document_id in (
        select id from documents where metadata @> ${JSON.stringify(filter)}::jsonb)
      order by distance limit ${depth}`)
    const farthest = exact.at(-1)?.distance ?? 0
    const asked = { text: '', embedding, embeddingModel: embedder.name, limit: candidateCount, scope: { filter } }
    const passages = await store.passages.search(owner, { ...asked, organization })
    const near = passages.filter(({ vectorDistance }) => vectorDistance !== null && vectorDistance <= farthest + 1e-6)
    found += Math.min(near.length, exact.length)
    wanted += exact.length
  }
  console.log(
    `recall@${depth} of the vector retriever with a filter that matches ${share} %: ${(found / wanted).toFixed(3)}`,
  )
}

async function printCosts({ store, owner, organization, embedder, questions }: Scaled, home: string) {
  const { postgres = 0 } = findPids(home, ['postgres'])
  const times: number[] = []
  const queue = Array.from({ length: searches }, (_, n) => questions[n % questions.length] ?? '').values()
  const search = async () => {
    for (const question of queue) {
      const askedAt = performance.now()
      await retrievePassages({ store, embedder }, owner, question, { limit: depth, organization })
      times.push(performance.now() - askedAt)
    }
  }
  const before = measureUsage(postgres)?.cpuMs ?? 0
  const startedAt = performance.now()
  await Promise.all(Array.from({ length: concurrency }, search))
  const seconds = (performance.now() - startedAt) / 1000
  const cpu = ((measureUsage(postgres)?.cpuMs ?? 0) - before) / searches
  times.sort((a, b) => a - b)
  const at = (share: number) => `${times[Math.floor(share * times.length)]?.toFixed(1)} ms`
  console.log(
    `${concurrency} concurrent searches on ${availableParallelism()} cores: p50 ${at(0.5)}, p95 ${at(0.95)}, ` +
      `${(searches / seconds).toFixed(0)} searches per second, ${cpu.toFixed(1)} ms of Postgres CPU per search`,
  )
}
