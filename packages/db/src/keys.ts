import { createHash, randomBytes } from 'node:crypto'
import { toOrganizationName } from './owners.ts'
import type { KeyScope } from './schema.ts'
import type { Store } from './store.ts'

export type KeyOptions = {
  /** Makes the owner a member of this organization, and of no other. Unset: the membership stays as it is. */
  organization?: string | undefined
  /** Whether the key may share documents with the organization. Default: no. */
  isLibrarian?: boolean
  /** Limits the tokens that may be used with the key per day. Unset or 0: no limit. */
  tokensPerDay?: number
  /** What the key may do. Unset: everything. */
  scopes?: KeyScope[] | undefined
  /** From when on the key is rejected. Unset: never. */
  expiresAt?: Date | undefined
}

/**
 * Creates an API key with 256 random bits for an owner, and the owner if there is none with that name. Returns the key. Only
 * its hash is stored, so it cannot be shown again. Throws if the owner is named like an organization.
 */
export async function createKey(store: Store, ownerName: string, options: KeyOptions = {}): Promise<string> {
  if (ownerName.startsWith(toOrganizationName('')))
    throw new Error('An owner cannot be named like an organization. Choose another name.')
  const { key, ...stored } = generateKey()
  const owner = await store.owners.ensure(ownerName)
  const { organization, tokensPerDay, ...settings } = options
  if (organization) await store.owners.join(owner, organization)
  await store.owners.addKey(owner, { ...stored, ...settings, tokensPerDay: tokensPerDay || null })
  return key
}

/** Returns a new key, and what is stored of it. */
export function generateKey() {
  const id = randomBytes(8).toString('hex')
  const secret = randomBytes(32).toString('base64url')
  return { key: `sl_${id}_${secret}`, id, secretHash: hashSecret(secret) }
}

/** Returns the hash that is stored in place of a key's secret. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}
