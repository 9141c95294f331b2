import { randomBytes, randomUUID } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { eq, sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import { uploads as table, uploadParts } from './schema.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'
import { partSize } from './uploads.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 4 })
const { documents, owners, uploads } = createStore(db)
const owner = await owners.ensure('ada')
afterAll(async () => {
  await close()
  await database.drop()
})

async function begin(...parts: Buffer[]) {
  const id = randomUUID()
  await uploads.open(owner, { id, title: 'tides.pdf', mediaType: 'application/pdf' })
  for (const [number, part] of parts.entries()) expect(await uploads.addPart(owner, id, number, part)).toBe(true)
  return id
}
const countParts = async (id: string) =>
  (await db.select().from(uploadParts).where(eq(uploadParts.uploadId, id))).length

describe('an upload', () => {
  it('belongs to no document until one is added with it, and is then read as it was stored', async () => {
    const parts = [randomBytes(partSize), randomBytes(partSize), randomBytes(7)]
    const uploadId = await begin(...parts)
    expect(await documents.list(owner, 10)).toEqual([])
    const document = await documents.add(owner, { title: 'Tides', contentHash: 'tides', uploadId })
    const { upload } = (await documents.begin(owner, document)) ?? {}
    if (!upload) throw new Error('no upload')
    const size = 2 * partSize + 7
    expect(upload).toEqual({ id: uploadId, uploadedBy: owner, title: 'Tides', mediaType: 'application/pdf', size })
    expect((await buffer(uploads.read(owner, upload))).equals(Buffer.concat(parts))).toBe(true)
    expect(await uploads.discard(owner, uploadId)).toBe(false)
    expect(await uploads.addPart(owner, uploadId, 3, Buffer.from('more'))).toBe(false)
  })

  it('replaces an older one, whose parts are removed', async () => {
    const post = async (content: string) => {
      const uploadId = await begin(Buffer.from(content))
      await documents.add(owner, { title: 'Moon', externalId: 'moon', contentHash: content, uploadId })
      return uploadId
    }
    const [older, newer] = [await post('older'), await post('newer')]
    expect([await countParts(older), await countParts(newer)]).toEqual([0, 1])
  })

  it('is left to its caller when the document already has this content', async () => {
    const post = async () => {
      const uploadId = await begin(Buffer.from('same'))
      const { id } = await documents.add(owner, { title: 'Same', contentHash: 'same', uploadId })
      return { id, isLeft: await uploads.discard(owner, uploadId) }
    }
    const first = await post()
    expect(await post()).toEqual({ id: first.id, isLeft: true })
    expect(first.isLeft).toBe(false)
  })

  it('that is gone creates no document', async () => {
    const uploadId = await begin(Buffer.from('gone'))
    expect(await uploads.discard(owner, uploadId)).toBe(true)
    const adding = documents.add(owner, { title: 'Gone', externalId: 'gone', contentHash: 'gone', uploadId })
    await expect(adding).rejects.toThrow('The upload is gone.')
    expect((await documents.list(owner, 10)).map(({ title }) => title)).not.toContain('Gone')
  })

  it('that is removed during a read causes an error, not a partial file', async () => {
    const id = await begin(Buffer.from('half'), Buffer.from('and half'))
    const reading = uploads.read(owner, { id, size: 12 })
    expect((await reading.next()).value).toEqual(Buffer.from('half'))
    await uploads.discard(owner, id)
    await expect(reading.next()).rejects.toThrow('removed while it was read')
  })

  it('of a text in memory is stored in the same parts', async () => {
    const text = 'a'.repeat(2 * partSize + 1)
    const document = await documents.add(owner, { title: 'Long', text, contentHash: 'long' })
    const { upload } = (await documents.begin(owner, document)) ?? {}
    if (!upload) throw new Error('no upload')
    expect(await countParts(upload.id)).toBe(3)
    expect(`${await buffer(uploads.read(owner, upload))}`).toBe(text)
  })

  it('is not compressed again', async () => {
    const id = await begin(Buffer.alloc(partSize))
    const [row] = await db.execute(sql`select pg_column_size(bytes) as size from upload_parts where upload_id = ${id}`)
    expect(row?.size).toBeGreaterThanOrEqual(partSize)
    await uploads.discard(owner, id)
  })
})

describe('the sweep', () => {
  const age = (id: string, seconds: number) =>
    db
      .update(table)
      .set({ updatedAt: sql`now() - ${seconds} * interval '1 second'` })
      .where(eq(table.id, id))

  it('removes only uploads that received no part for the given time', async () => {
    const abandoned = await begin(Buffer.from('a'), Buffer.from('b'))
    await age(abandoned, 61)
    const slow = await begin(Buffer.from('a'))
    await age(slow, 61)
    await uploads.addPart(owner, slow, 1, Buffer.from('b')) // its next part renews it
    const finished = await begin(Buffer.from('a'))
    await documents.add(owner, { title: 'Old', contentHash: 'old', uploadId: finished })
    await age(finished, 61)
    expect(await uploads.sweep(60_000)).toBe(1)
    expect([await countParts(abandoned), await countParts(slow), await countParts(finished)]).toEqual([0, 2, 1])
  })
})
