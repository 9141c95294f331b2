import { randomBytes, randomInt } from 'node:crypto'
import { request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { connect, createStore, documents, eq, sql, uploads } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { hashContent } from '@repo/rag'
import { startApi } from '@repo/testing/processes'
import { measureReferenceMs, measureTurns, readTurns } from '@repo/testing/turns'
import { afterAll, expect, it } from 'vitest'

const test = await createTestDatabase()
const { db, close } = connect({ url: test.databaseUrl, poolSize: 2 })
const store = createStore(db)
const owner = await store.owners.ensure('local')
afterAll(async () => {
  await close()
  await test.drop()
})

const env = { DATABASE_URL: test.databaseUrl }

async function startWatched(nodeOptions: string[] = []) {
  const api = await startApi(env, [...nodeOptions, ...measureTurns])
  const read = () => readTurns(api)
  await read()
  return { ...api, read }
}

const makePdf = (bytes: number) => Buffer.concat([Buffer.from('%PDF-1.7\n'), randomBytes(bytes)])

async function post(url: string, bytes: Buffer<ArrayBuffer>) {
  const body = new FormData()
  body.set('file', new Blob([bytes]), 'a.pdf')
  const response = await fetch(`${url}/documents`, { method: 'POST', body })
  await response.text()
  return response.status
}

it('large uploads, one or four at once, cause no stalls and little CPU load', async ({ annotate }) => {
  const referenceMs = measureReferenceMs()
  const api = await startWatched()
  await post(api.url, makePdf(19_000_000)) // compiles the code that the others run
  await api.read()
  for (const count of [1, 4]) {
    const files = Array.from({ length: count }, () => makePdf(19_000_000))
    expect(await Promise.all(files.map((file) => post(api.url, file)))).toEqual(files.map(() => 202))
    const { longestMs, processCpuMs } = await api.read()
    const cpuPerMb = processCpuMs / 19 / count
    await annotate(
      `${count} of 19 MB at once: longest turn ${longestMs.toFixed(1)} ms of CPU, ${cpuPerMb.toFixed(1)} ms per MB`,
    )
    expect(longestMs).toBeLessThan(4 * referenceMs) // as long as encoding 32 MB of text; whole files took 75 times
    expect(cpuPerMb).toBeLessThan(2 * referenceMs) // half of what whole files took
  }
}, 300_000)

it('four concurrent large uploads use at most 2 MB each', async ({ annotate }) => {
  const api = await startWatched(['--expose-gc'])
  await post(api.url, makePdf(1_000_000))
  await api.read()
  await Promise.all([1, 2, 3, 4].map(() => post(api.url, makePdf(19_000_000))))
  const { heldBytes } = await api.read()
  await annotate(`four of 19 MB at once: ${(heldBytes / 4 / 1e6).toFixed(2)} MB each`)
  expect(heldBytes).toBeGreaterThan(0)
  expect(heldBytes / 4).toBeLessThan(2_000_000)
}, 300_000)

const chunk = 512 * 1024 // bytes; all 16 together exceed the socket buffers between client and process
const chunks = 16
const body = randomBytes(chunk * chunks)
const toFile = (title: string) => Buffer.concat([Buffer.from(`%PDF-1.7 ${title}\n`), body]).subarray(0, body.length)

/**
 * Uploads a file chunk by chunk, and calls `onChunk` after each with the number of sent chunks. Returns the status, or
 * 0 without a response.
 */
function upload(url: string, title: string, bytes: Buffer, onChunk: (sent: number) => void): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>()
  const headers = { 'content-type': 'multipart/form-data; boundary=x' }
  const form = request(`${url}/documents`, { method: 'POST', headers }, (response) => {
    response.resume().on('close', () => resolve(response.statusCode ?? 0))
  })
  form.on('error', () => resolve(0))
  form.write(`--x\r\ncontent-disposition: form-data; name="file"; filename="${title}"\r\n\r\n`)
  const send = (sent: number) => {
    onChunk(sent)
    if (sent === chunks) form.end('\r\n--x--\r\n', () => onChunk(chunks + 1))
    else form.write(bytes.subarray(sent * chunk, (sent + 1) * chunk), () => send(sent + 1))
  }
  send(0)
  return promise
}

it('an API process that is killed during uploads leaves no partial document and, after a sweep, no parts', async ({
  annotate,
  skip,
}) => {
  skip(!process.env.SLUICE_FULL, 'starts 40 processes: npm test -- --full')
  const kills = 40 // of processes with three uploads each
  const startedAt = performance.now()
  const posted = new Map<string, number>()
  let cutOff = 0

  /** Kills one process after a random chunk of one of its uploads, or between the last one and the response. */
  async function killOne(number: number) {
    const api = await startApi(env)
    const killAfter = randomInt(chunks + 3)
    const uploading = [0, 1, 2].map(async (index) => {
      const title = `${number}-${index}.pdf`
      const onChunk = (sent: number) => index === 0 && sent === killAfter && api.child.kill('SIGKILL')
      posted.set(title, await upload(api.url, title, toFile(title), onChunk))
    })
    await Promise.all(uploading)
    api.child.kill('SIGKILL') // after the response, if it was not killed before
    await api.ended
  }
  let next = 0
  const killSome = async () => {
    while (next < kills) await killOne(next++)
  }
  await Promise.all([killSome(), killSome()])

  const stored = await db
    .select({ title: uploads.title, id: uploads.id, size: uploads.size, hash: documents.contentHash })
    .from(documents)
    .innerJoin(uploads, eq(uploads.documentId, documents.id))
    .where(eq(documents.ownerId, owner))
  const visible = await store.documents.list(owner, 1000)
  const mine = visible.filter(({ title }) => posted.has(title))
  for (const { title, id, size, hash } of stored.filter(({ title }) => posted.has(title))) {
    const bytes = toFile(title)
    expect(hash).toBe(hashContent(title, bytes))
    expect((await buffer(store.uploads.read(owner, { id, size }))).equals(bytes)).toBe(true)
  }
  for (const [title, status] of posted) {
    if (status === 202) expect(mine.map((document) => document.title)).toContain(title)
    else cutOff += 1
  }
  expect(stored.filter(({ title }) => posted.has(title))).toHaveLength(mine.length)

  const swept = await store.uploads.sweep(0)
  const [left] = await db.execute(sql`
    select (select count(*)::int from uploads where document_id is null) as uploads,
      (select count(*)::int from upload_parts as part
        where not exists (select from uploads where id = part.upload_id and document_id is not null)) as parts`)
  expect(left).toEqual({ uploads: 0, parts: 0 })
  expect(swept).toBeGreaterThan(0)
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  await annotate(
    `${kills} processes killed in ${seconds} s: ${posted.size} uploads, ${cutOff} without a response, ${mine.length} whole documents, ${swept} swept`,
  )
}, 1_800_000)
