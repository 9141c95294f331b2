import { and, eq, isNull, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { uploadParts, uploads } from './schema.ts'

/** A stored file. `size` is in bytes. */
export type Upload = { id: string; title: string; mediaType: string; size: number }

export type Tx = Pick<Db, 'insert' | 'update' | 'delete' | '$with' | 'with'>

/** The upload was removed while it was read: its document is ready, gone, or has newer content. */
export class UploadGoneError extends Error {
  constructor() {
    super('The upload was removed while it was read.')
    this.name = 'UploadGoneError'
  }
}

/** Bytes per part. Storing a part takes about 1 ms, so other requests are not delayed. Four parts fit into 1 MB. */
export const partSize = 256 * 1024

const { placeholder } = sql
const isUpload = (owner: string, id: string) => and(eq(uploads.ownerId, owner), eq(uploads.id, id))
const isUnfinished = isNull(uploads.documentId)

/** Stores files that arrive in parts, each in a separate statement. No connection is held in between. */
export function createUploads(db: Db) {
  const addPart = prepareAddPart(db)
  const findPart = prepareFindPart(db)
  return {
    /** Begins an upload. It belongs to no document until `documents.add` references it. */
    open: async (owner: string, { id, title, mediaType }: Omit<Upload, 'size'>): Promise<void> => {
      await db.insert(uploads).values({ ownerId: owner, id, title, mediaType })
    },

    /** Stores the part with this number, starting at 0. Returns false if there is no such unfinished upload. */
    addPart: async (owner: string, id: string, number: number, bytes: Buffer): Promise<boolean> =>
      (await addPart.execute(toPart(owner, id, number, bytes))).length > 0,

    /** Reads an upload, one statement per part. Throws if the upload is removed in the meantime. */
    read: (owner: string, { id, size }: Pick<Upload, 'id' | 'size'>): AsyncGenerator<Buffer, void> =>
      readParts((number) => findPart.execute({ owner, id, number }), size),

    /** Removes an upload that no document uses. Returns whether it existed. */
    discard: async (owner: string, id: string): Promise<boolean> =>
      (
        await db
          .delete(uploads)
          .where(and(isUpload(owner, id), isUnfinished))
          .returning({ id: uploads.id })
      ).length > 0,

    /** Removes unfinished uploads of all owners that received no part for `silentMs`. Returns how many. */
    sweep: async (silentMs: number): Promise<number> => {
      const isSilent = sql`${uploads.updatedAt} < now() - ${silentMs} * interval '1 millisecond'`
      return (await db.delete(uploads).where(and(isUnfinished, isSilent)).returning({ id: uploads.id })).length
    },
  }
}

/** Stores a file that is in memory. Returns the upload's id. */
export async function storeUpload(
  tx: Tx,
  owner: string,
  { bytes, ...file }: { title: string; mediaType: string; bytes: Buffer },
): Promise<string> {
  const id = crypto.randomUUID()
  await tx.insert(uploads).values({ ownerId: owner, id, ...file })
  const addPart = prepareAddPart(tx)
  for (let number = 0; number * partSize < bytes.length; number += 1) {
    const part = bytes.subarray(number * partSize, (number + 1) * partSize)
    await addPart.execute(toPart(owner, id, number, part))
  }
  return id
}

/** Makes an upload the document's pending content and replaces an older one. Throws if the upload is gone. */
export async function attachUpload(
  tx: Tx,
  owner: string,
  { id, documentId, title }: { id: string; documentId: string; title: string },
): Promise<void> {
  await tx.delete(uploads).where(eq(uploads.documentId, documentId))
  const attached = await tx
    .update(uploads)
    .set({ documentId, title })
    .where(and(isUpload(owner, id), isUnfinished))
    .returning({ id: uploads.id })
  if (attached.length === 0) throw new Error('The upload is gone.')
}

const toPart = (owner: string, id: string, number: number, bytes: Buffer) => {
  return { owner, id, number, size: bytes.length, bytes }
}

function prepareAddPart(db: Tx) {
  const isOpen = and(eq(uploads.ownerId, placeholder('owner')), eq(uploads.id, placeholder('id')), isUnfinished)
  const upload = db.$with('upload').as(
    db
      .update(uploads)
      .set({ size: sql`${uploads.size} + ${placeholder('size')}::int`, updatedAt: sql`now()` })
      .where(isOpen)
      .returning({ ownerId: uploads.ownerId, id: uploads.id }),
  )
  const part = sql`select ${upload.ownerId}, ${upload.id}, ${placeholder('number')}::int,
    ${placeholder('bytes')}::bytea from ${upload}`
  return db
    .with(upload)
    .insert(uploadParts)
    .select(part)
    .returning({ number: uploadParts.number })
    .prepare('add_upload_part')
}

function prepareFindPart(db: Db) {
  const isPart = and(
    eq(uploadParts.ownerId, placeholder('owner')),
    eq(uploadParts.uploadId, placeholder('id')),
    eq(uploadParts.number, placeholder('number')),
  )
  return db.select({ bytes: uploadParts.bytes }).from(uploadParts).where(isPart).prepare('find_upload_part')
}

async function* readParts(find: (number: number) => Promise<{ bytes: Buffer }[]>, size: number) {
  for (let [number, left] = [0, size]; left > 0; number += 1) {
    const [part] = await find(number)
    if (!part) throw new UploadGoneError()
    yield part.bytes
    left -= part.bytes.length
  }
}
