import { and, asc, eq, gt, ne, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import type { LanguageName } from './languages.ts'
import { chunks } from './schema.ts'
import { createTokenizer } from './terms.ts'

/**
 * Creates queries on stored terms across all owners. `language` is that of `createStore`. For the CLI only, so not part of
 * the Store.
 */
export function createTermIndex(db: Db, language?: LanguageName) {
  const { version, indexTerms } = createTokenizer(language)
  const isOutdated = ne(chunks.tokenizer, version)
  return {
    /** Returns whether any chunk has the terms of another version of the tokenizer. They are not found by new terms. */
    hasOutdated: async (): Promise<boolean> =>
      (await db.select({ id: chunks.id }).from(chunks).where(isOutdated).limit(1)).length > 0,

    /**
     * Finds the terms of at most `limit` chunks again, ordered by id, after the given one. Returns the last one's id and
     * how many there were.
     */
    renew: async (limit: number, after = '00000000-0000-0000-0000-000000000000') => {
      const { id, ownerId, heading, content } = chunks
      const outdated = await db
        .select({ id, ownerId, heading, content })
        .from(chunks)
        .where(and(gt(id, after), isOutdated))
        .orderBy(asc(id))
        .limit(limit)
      const renewed = outdated.map(({ id, ownerId, heading, content }) => ({
        id,
        ...indexTerms(ownerId, `${heading} ${content}`),
      }))
      await db
        .update(chunks)
        .set({ terms: sql`renewed.terms`, weights: sql`renewed.weights`, tokenizer: version })
        .from(
          sql`jsonb_to_recordset(${JSON.stringify(renewed)}::jsonb) as renewed(id uuid, terms int[], weights sparsevec)`,
        )
        .where(eq(chunks.id, sql`renewed.id`))
      return { last: outdated.at(-1)?.id, count: outdated.length }
    },
  }
}
