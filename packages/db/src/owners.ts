import { and, asc, eq, inArray, isNull, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { apiKeys, owners } from './schema.ts'

const { placeholder } = sql

/** Creates the queries on owners and their API keys. */
export function createOwners(db: Db) {
  const findOwner = db
    .select({ id: owners.id })
    .from(owners)
    .where(eq(owners.name, placeholder('name')))
    .prepare('find_owner')
  const isValid = and(eq(apiKeys.id, placeholder('id')), isNull(apiKeys.revokedAt))
  const findKey = db
    .select({ ownerId: apiKeys.ownerId, secretHash: apiKeys.secretHash })
    .from(apiKeys)
    .where(isValid)
    .prepare('find_key')
  return {
    /** Returns the id of an owner by name, and creates the owner if necessary. Only the first call writes. */
    ensure: async (name: string): Promise<string> => {
      const [found] = await findOwner.execute({ name })
      return found?.id ?? (await addOwner(db, name))
    },

    addKey: async (owner: string, id: string, secretHash: string): Promise<void> => {
      await db.insert(apiKeys).values({ id, ownerId: owner, secretHash })
    },

    /** Returns the owner and secret hash of a valid key. */
    findKey: async (id: string) => (await findKey.execute({ id })).at(0),

    /** Sets the time of last use of keys of any owner. Skips keys that another process is updating. */
    recordKeyUsage: async (ids: string[]): Promise<void> => {
      const given = sql`(select jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb))`
      const unlocked = db
        .select({ id: apiKeys.id })
        .from(apiKeys)
        .where(inArray(apiKeys.id, given))
        .for('update', { skipLocked: true })
      await db.update(apiKeys).set({ lastUsedAt: sql`now()` }).where(inArray(apiKeys.id, unlocked))
    },
  }
}

/** Adds an owner with an upsert, because another process may add the same one concurrently. */
async function addOwner(db: Db, name: string): Promise<string> {
  const [row] = await db
    .insert(owners)
    .values({ name })
    .onConflictDoUpdate({ target: owners.name, set: { name } })
    .returning({ id: owners.id })
  if (!row) throw new Error('an upsert returned no row')
  return row.id
}

/** Creates queries on the keys of all owners. For the CLI only, so not part of the Store. */
export function createKeyring(db: Db) {
  const ownerName = db.select({ name: owners.name }).from(owners).where(eq(owners.id, apiKeys.ownerId))
  return {
    /** Returns all keys without their secrets, oldest first. `lastUsedAt` is up to a minute late. */
    list: () =>
      db
        .select({
          id: apiKeys.id,
          owner: owners.name,
          createdAt: apiKeys.createdAt,
          lastUsedAt: apiKeys.lastUsedAt,
          revokedAt: apiKeys.revokedAt,
        })
        .from(apiKeys)
        .innerJoin(owners, eq(owners.id, apiKeys.ownerId))
        .orderBy(asc(apiKeys.createdAt), asc(apiKeys.id)),

    /** Revokes a key permanently, and keeps the time if it is already revoked. Returns undefined for an unknown key. */
    revoke: async (id: string): Promise<{ owner: string; revokedAt: Date | null } | undefined> => {
      const [key] = await db
        .update(apiKeys)
        .set({ revokedAt: sql`coalesce(${apiKeys.revokedAt}, now())` })
        .where(eq(apiKeys.id, id))
        .returning({ owner: sql<string>`(${ownerName})`, revokedAt: apiKeys.revokedAt })
      return key
    },
  }
}
