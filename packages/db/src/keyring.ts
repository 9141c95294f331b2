import { asc, eq, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { generateKey } from './keys.ts'
import { apiKeys, owners } from './schema.ts'

/** Creates queries on the keys of all owners. For the CLI only, so not part of the Store. */
export function createKeyring(db: Db) {
  const ownerName = sql<string>`(${db.select({ name: owners.name }).from(owners).where(eq(owners.id, apiKeys.ownerId))})`
  return {
    /** Returns all keys without their secrets, oldest first. `lastUsedAt` is up to a minute late. */
    list: () =>
      db
        .select({
          id: apiKeys.id,
          owner: owners.name,
          createdAt: apiKeys.createdAt,
          lastUsedAt: apiKeys.lastUsedAt,
          expiresAt: apiKeys.expiresAt,
          scopes: apiKeys.scopes,
          tokensPerDay: apiKeys.tokensPerDay,
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
        .returning({ owner: ownerName, revokedAt: apiKeys.revokedAt })
      return key
    },

    /**
     * Creates a key with the owner, rights, budget and lifetime of another one, which expires after `overlapMs`, or earlier
     * if it would have anyway. Returns the new key and when the old one expires. Throws if the old key is unknown, was
     * revoked, or was replaced before.
     */
    rotate: async (id: string, overlapMs: number): Promise<{ key: string; owner: string; expiresAt: Date | null }> => {
      const { key, ...stored } = generateKey()
      const replaced = await db.transaction(async (tx) => {
        const [old] = await tx.select(replaceable).from(apiKeys).where(eq(apiKeys.id, id)).for('update')
        const { ownerId, isLibrarian, scopes, tokensPerDay, lifetimeSeconds } = assertReplaceable(id, old)
        const settings = { ownerId, isLibrarian, scopes, tokensPerDay }
        const expiresAt = sql`now() + make_interval(secs => ${lifetimeSeconds})` // null if there is no lifetime
        await tx.insert(apiKeys).values({ ...stored, ...settings, expiresAt })
        // Stored times have milliseconds, and rounding must not let the old key outlive an overlap of 0.
        const end = sql`date_trunc('milliseconds', now()) + make_interval(secs => ${overlapMs / 1000})`
        return tx
          .update(apiKeys)
          .set({ expiresAt: sql`least(${apiKeys.expiresAt}, ${end})`, replacedBy: stored.id })
          .where(eq(apiKeys.id, id))
          .returning({ owner: ownerName, expiresAt: apiKeys.expiresAt })
      })
      return { key, owner: replaced[0]?.owner ?? '', expiresAt: replaced[0]?.expiresAt ?? null }
    },
  }
}

const replaceable = {
  ownerId: apiKeys.ownerId,
  isLibrarian: apiKeys.isLibrarian,
  scopes: apiKeys.scopes,
  tokensPerDay: apiKeys.tokensPerDay,
  revokedAt: apiKeys.revokedAt,
  replacedBy: apiKeys.replacedBy,
  lifetimeSeconds: sql<string | null>`extract(epoch from ${apiKeys.expiresAt} - ${apiKeys.createdAt})`,
}

function assertReplaceable<Key extends { revokedAt: Date | null; replacedBy: string | null }>(
  id: string,
  key: Key | undefined,
): Key {
  if (!key) throw new Error(`No key has the ID ${id}. \`npm run manage -- list-keys\` lists all keys.`)
  if (key.revokedAt) throw new Error(`Key ${id} was revoked. Create another one with create-key.`)
  if (key.replacedBy) throw new Error(`Key ${id} was replaced by ${key.replacedBy} before. Rotate that one.`)
  return key
}
