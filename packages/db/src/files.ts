import { and, eq, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { messageFiles } from './schema.ts'

/** A file to store with its question. */
export type NewFile = { id: string; url: string }

/** A question. */
type Place = { conversationId: string; messageId: string }

/** UTF-16 units of a URL per row. Sending or receiving a row takes about 1 ms, so other requests are not delayed. */
const pieceLength = 256 * 1024

const { placeholder } = sql

/** Creates the queries on files of questions. */
export function createMessageFiles(db: Db) {
  const readPiece = db
    .select({ piece: messageFiles.piece })
    .from(messageFiles)
    .where(
      and(
        eq(messageFiles.ownerId, placeholder('owner')),
        eq(messageFiles.id, placeholder('id')),
        eq(messageFiles.number, placeholder('number')),
      ),
    )
    .prepare('read_message_file')
  return {
    /** Yields the URL of a file in pieces, one statement per piece. Throws if the file is deleted meanwhile. */
    readUrl: async function* (owner: string, { id, length }: { id: string; length: number }): AsyncGenerator<string> {
      for (let [number, left] = [0, length]; left > 0; number += 1) {
        const [row] = await readPiece.execute({ owner, id, number })
        if (!row) throw new Error('The file was deleted while it was read.')
        yield row.piece
        left -= row.piece.length
      }
    },
  }
}

/** Stores the files of a question, one statement per piece. */
export async function addFiles(tx: Pick<Db, 'insert'>, owner: string, place: Place, files: NewFile[]): Promise<void> {
  const key = {
    ownerId: placeholder('owner'),
    conversationId: placeholder('conversationId'),
    messageId: placeholder('messageId'),
  }
  const insert = tx
    .insert(messageFiles)
    .values({ ...key, id: placeholder('id'), number: placeholder('number'), piece: placeholder('piece') })
    .prepare('add_message_file')
  for (const { id, url } of files) {
    for (let number = 0; number * pieceLength < url.length; number += 1) {
      const piece = url.slice(number * pieceLength, (number + 1) * pieceLength)
      await insert.execute({ owner, ...place, id, number, piece })
    }
  }
}
