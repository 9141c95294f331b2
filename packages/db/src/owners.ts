import { and, eq, isNull, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { apiKeys, owners } from './schema.ts'

/** Owners and the keys that speak for them. */
export function createOwners(db: Db) {
  const isValid = and(eq(apiKeys.id, sql.placeholder('id')), isNull(apiKeys.revokedAt))
  const findKey = db
    .select({ ownerId: apiKeys.ownerId, secretHash: apiKeys.secretHash })
    .from(apiKeys)
    .where(isValid)
    .prepare('find_key')
  return {
    /** The id of the owner called `name`, who is made when there is none. */
    ensure: async (name: string): Promise<string> => {
      const [row] = await db
        .insert(owners)
        .values({ name })
        .onConflictDoUpdate({ target: owners.name, set: { name } })
        .returning({ id: owners.id })
      if (!row) throw new Error('an upsert returned no row')
      return row.id
    },

    addKey: async (owner: string, id: string, secretHash: string): Promise<void> => {
      await db.insert(apiKeys).values({ id, ownerId: owner, secretHash })
    },

    /** The owner and the secret's hash of a key that is not revoked. */
    findKey: async (id: string) => (await findKey.execute({ id })).at(0),
  }
}
