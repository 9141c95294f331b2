import { type SQL, sql } from 'drizzle-orm'
import type { Piece } from './parts.ts'
import { answerPieces } from './schema.ts'

/** Selects the pieces of the message of the outer query, in order. */
export function selectPieces(condition: SQL = sql`true`): SQL<Piece[]> {
  return sql<Piece[]>`coalesce((
    select json_agg(json_build_object('start', piece.start, 'parts', piece.parts) order by piece.start)
    from ${answerPieces} as piece
    where piece.owner_id = messages.owner_id and piece.conversation_id = messages.conversation_id
      and piece.message_id = messages.id and ${condition}), '[]')`
}
