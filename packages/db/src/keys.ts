import { createHash, randomBytes } from 'node:crypto'
import type { Store } from './store.ts'

/**
 * Creates an API key with 256 random bits for an owner, and the owner if there is none with that name. Returns the key. Only
 * its hash is stored, so it cannot be shown again.
 */
export async function createKey(store: Store, ownerName: string): Promise<string> {
  const id = randomBytes(8).toString('hex')
  const secret = randomBytes(32).toString('base64url')
  const owner = await store.owners.ensure(ownerName)
  await store.owners.addKey(owner, id, hashSecret(secret))
  return `sl_${id}_${secret}`
}

/** Returns the hash that is stored in place of a key's secret. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}
