import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'

/** Sends JSON that is written in pieces, because writing all of it at once would block the event loop. */
export function sendJsonPieces(reply: FastifyReply, pieces: AsyncGenerator<string>): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(Readable.from(pieces))
}
