import { and, eq, inArray, isNull, ne, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { type Spent, type SpentBy, selectSpent } from './model-usage.ts'
import { apiKeys, conversations, documents, mergedProcess, owners, uploads } from './schema.ts'

const { placeholder } = sql

/** An owner, and the organization whose shared documents the owner may read. */
export type Member = { owner: string; organization: string | undefined }

/** The name of the single owner with `AUTH=off`. */
export const localOwner = 'local'

/** An organization is an owner with such a name: it owns the documents that are shared with its members. */
export const toOrganizationName = (name: string) => `organization#${name}`

/** `isSpending`: whether a request may use tokens of a budget, so that it has to be known what has been used. */
type Spending = SpentBy & { isSpending: boolean }
const notSpending: Spending = { day: 'epoch', processId: mergedProcess, isSpending: false }
type Spender = { spent?: Spent | null }
type NewKey = Omit<typeof apiKeys.$inferInsert, 'ownerId'>
const isSpending = sql`${placeholder('isSpending')}::boolean`

/** Creates the queries on owners and their API keys. */
export function createOwners(db: Db) {
  const findOwners = db
    .select({ id: owners.id, name: owners.name, spent: selectSpent(sql`owners.id`, sql`''`, isSpending) })
    .from(owners)
    .where(inArray(owners.name, [placeholder('name'), placeholder('organization')]))
    .prepare('find_owners')
  const isCurrent = and(eq(apiKeys.id, placeholder('id')), isNull(apiKeys.revokedAt))
  const hasBudget = sql`(${placeholder('hasBudget')}::boolean or tokens_per_day is not null)`
  const findKey = db
    .select({
      owner: apiKeys.ownerId,
      organization: owners.organizationId,
      isLibrarian: apiKeys.isLibrarian,
      scopes: apiKeys.scopes,
      secretHash: apiKeys.secretHash,
      isExpired: sql<boolean>`coalesce(${apiKeys.expiresAt} <= now(), false)`,
      tokensPerDay: apiKeys.tokensPerDay,
      spent: selectSpent(sql`api_keys.owner_id`, sql`api_keys.id`, sql`${isSpending} and ${hasBudget}`),
    })
    .from(apiKeys)
    .innerJoin(owners, eq(owners.id, apiKeys.ownerId))
    .where(isCurrent)
    .prepare('find_key')
  const ensureMember = async (name: string, organizationName = '', by = notSpending): Promise<Member & Spender> => {
    const organization = organizationName && toOrganizationName(organizationName)
    const found = new Map((await findOwners.execute({ name, organization, ...by })).map((row) => [row.name, row]))
    return {
      owner: found.get(name)?.id ?? (await addOwner(db, name)),
      organization: organization ? (found.get(organization)?.id ?? (await addOwner(db, organization))) : undefined,
      ...(by.isSpending && { spent: found.get(name)?.spent ?? null }),
    }
  }
  return {
    /** Returns the id of an owner by name, and creates the owner if necessary. Only the first call writes. */
    ensure: async (name: string): Promise<string> => (await ensureMember(name)).owner,

    /**
     * Does the same for an owner and an organization at once. Changes no membership. `spent` is null unless the request is
     * `isSpending`, and for a new owner.
     */
    ensureMember,

    /** Makes an owner a member of an organization, which is created if necessary, and of no other. */
    join: async (owner: string, organizationName: string): Promise<void> => {
      const organizationId = (await ensureMember(toOrganizationName(organizationName))).owner
      await db.update(owners).set({ organizationId }).where(eq(owners.id, owner))
    },

    /** Ends an owner's membership. */
    leave: async (owner: string): Promise<void> => {
      await db.update(owners).set({ organizationId: null }).where(eq(owners.id, owner))
    },

    /**
     * Deletes everything that an owner has, and the owner. Large owners take many statements, so that each is short. With
     * `AUTH=off` the local owner stays, without content, because processes remember its id.
     */
    remove: (owner: string): Promise<void> => removeOwner(db, owner),

    addKey: async (owner: string, key: NewKey): Promise<void> => {
      await db.insert(apiKeys).values({ ownerId: owner, ...key })
    },

    /**
     * Returns a key with its budget, its owner and the owner's organization, unless it was revoked. It may be expired, by the
     * database's clock. `spent` is null unless the request is `isSpending` and the key, or its owner (`hasBudget`), has a
     * budget.
     */
    findKey: async (id: string, by: Spending & { hasBudget: boolean } = { ...notSpending, hasBudget: false }) =>
      (await findKey.execute({ id, ...by })).at(0),

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

const removedAtOnce = 50 // documents or conversations: a document may have thousands of chunks, and a statement 10 s

async function removeOwner(db: Db, owner: string): Promise<void> {
  const removeSome = (table: typeof documents | typeof uploads | typeof conversations | typeof apiKeys) => {
    const some = db.select({ id: table.id }).from(table).where(eq(table.ownerId, owner)).limit(removedAtOnce)
    return db
      .delete(table)
      .where(and(eq(table.ownerId, owner), inArray(table.id, some)))
      .returning({ id: table.id })
  }
  for (const table of [documents, uploads, conversations, apiKeys]) while ((await removeSome(table)).length > 0);
  await db.delete(owners).where(and(eq(owners.id, owner), ne(owners.name, localOwner)))
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
