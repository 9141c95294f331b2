import { Readable } from 'node:stream'
import { listJsonParts, takeTurn } from '@repo/llm'
import type { FastifyReply } from 'fastify'

const pieceLength = 128 * 1024 // UTF-16 units, about a ms to write

/** Sends JSON that is written in pieces, because writing all of it at once would block the event loop. */
export function sendJsonPieces(reply: FastifyReply, pieces: AsyncGenerator<string>): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(Readable.from(pieces))
}

/** Yields a value as JSON, each piece in a turn of the event loop of its own. */
export async function* writeJsonPieces(value: unknown): AsyncGenerator<string> {
  let text = ''
  for (const part of listJsonParts(value)) {
    text += part
    if (text.length < pieceLength) continue
    yield text
    text = ''
    await takeTurn()
  }
  yield text
}
