import type { Source } from '@repo/db'
import type { Queryable } from './raw-queries.ts'

type Passage = Omit<Source, 'n' | 'page'> & { heading: string; text: string; page: number | null }

/**
 * Returns a function that returns the six nearest chunks of an owner: a vector search without keywords, as most people
 * write it. `embedding` is a vector as text.
 */
export function prepareVectorSearch(model: string) {
  let query: string | undefined // for the model's width, which the first vector shows
  return async (sql: Queryable, owner: string, embedding: string): Promise<Passage[]> => {
    query ??= writeQuery(model, embedding.split(',').length)
    return sql.unsafe<Passage[]>(query, [owner, embedding], { prepare: true })
  }
}

/** Model and width must be literals to match the index in a prepared statement. */
function writeQuery(model: string, width: number): string {
  return `
select chunks.id as "chunkId", document_id as "documentId", title, heading, content as text, start, "end", page
from chunks join documents on documents.id = document_id
where chunks.owner_id = $1 and embedding_model = '${model.replaceAll("'", "''")}'
order by embedding::halfvec(${width}) <=> $2::halfvec(${width}) limit 6`
}
