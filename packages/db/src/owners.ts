import { and, eq, isNull } from 'drizzle-orm'
import type { Db } from './client.ts'
import { apiKeys, owners } from './schema.ts'

/** Owners and the keys that speak for them. */
export function createOwners(db: Db) {
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
    findKey: async (id: string) =>
      (
        await db
          .select({ ownerId: apiKeys.ownerId, secretHash: apiKeys.secretHash })
          .from(apiKeys)
          .where(and(eq(apiKeys.id, id), isNull(apiKeys.revokedAt)))
      ).at(0),
  }
}
