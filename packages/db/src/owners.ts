import { and, asc, eq, inArray, isNull, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { apiKeys, owners } from './schema.ts'

const { placeholder } = sql

/** Owners and the keys that speak for them. */
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
    /** The id of the owner called `name`, who is made when there is none: the first time writes, all others only read. */
    ensure: async (name: string): Promise<string> => {
      const [found] = await findOwner.execute({ name })
      return found?.id ?? (await addOwner(db, name))
    },

    addKey: async (owner: string, id: string, secretHash: string): Promise<void> => {
      await db.insert(apiKeys).values({ id, ownerId: owner, secretHash })
    },

    /** The owner and the secret's hash of a key that is not revoked. */
    findKey: async (id: string) => (await findKey.execute({ id })).at(0),

    /** Notes that keys of any owners were used just now. One that another process notes at this moment is left to it. */
    noteKeyUse: async (ids: string[]): Promise<void> => {
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

/** An upsert, since another process may add the same owner at this moment. */
async function addOwner(db: Db, name: string): Promise<string> {
  const [row] = await db
    .insert(owners)
    .values({ name })
    .onConflictDoUpdate({ target: owners.name, set: { name } })
    .returning({ id: owners.id })
  if (!row) throw new Error('an upsert returned no row')
  return row.id
}

/** The keys of all owners: for an operator's commands, and so not in the store. */
export function createKeyring(db: Db) {
  const ownerName = db.select({ name: owners.name }).from(owners).where(eq(owners.id, apiKeys.ownerId))
  return {
    /** All keys, oldest first; nothing of their secrets. `lastUsedAt` is at most a minute late. */
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

    /** Ends a key for good; one that is revoked keeps its time. Gives whose it was, undefined when there is no such key. */
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
