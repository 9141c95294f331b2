import { hash } from 'node:crypto'
import { ProblemError } from '../plugins/errors.ts'

const scarceMs = 5000 // rejected clients come back after `Retry-After`, 2 s
const retrySeconds = 5 // most answers end within a few seconds
const maxRemembered = 10_000 // credentials, about 2 MB: more than ask a process within a minute

/**
 * Decides whether an owner may take one more of `count` slots. Each may take all, until another owner is rejected because
 * none is free. From then on, and for 5 s after the last such rejection, owners with half of the slots get no further
 * one, so the slots that become free are left to the others. Running answers are never affected.
 */
export function createFairShare(count: number, now = () => performance.now()) {
  const half = Math.max(1, Math.floor(count / 2))
  const taken = new Map<string, number>()
  const remembered = new Map<string, string>() // the owner by a hash of its credentials
  let scarceUntil = Number.NEGATIVE_INFINITY
  const hasHalf = (owner: string) => (taken.get(owner) ?? 0) >= half

  return {
    /** Throws `ProblemError` 429 if the owner has its half while others are being rejected. */
    assert: (owner: string): void => {
      if (hasHalf(owner) && now() < scarceUntil) throw hasItsHalf(half)
    },

    take: (owner: string): void => void taken.set(owner, (taken.get(owner) ?? 0) + 1),

    release: (owner: string): void => {
      const left = (taken.get(owner) ?? 0) - 1
      if (left > 0) taken.set(owner, left)
      else taken.delete(owner)
    },

    /** Remembers whose credentials these are, for `recognize`. */
    remember: (owner: string, credentials: string): void => {
      const key = hash('sha256', credentials)
      remembered.delete(key) // it becomes the newest again
      remembered.set(key, owner)
      if (remembered.size > maxRemembered) remembered.delete(remembered.keys().next().value ?? '')
    },

    /** Returns the owner of credentials that are remembered. Needs no database, so it may run for each rejected request. */
    recognize: (credentials: string): string | undefined => remembered.get(hash('sha256', credentials)),

    /** Notes that a request was rejected because no slot is free. An unknown owner has no running answers. */
    noteRejection: (owner: string | undefined): void => {
      if (owner === undefined || !hasHalf(owner)) scarceUntil = now() + scarceMs
    },
  }
}

function hasItsHalf(limit: number): ProblemError {
  const detail = `Too many concurrent answers: the limit is ${limit} while other owners wait. Wait for one to end, or stop it.`
  return new ProblemError(429, 'owner_stream_limit', detail, { retryAfterSeconds: retrySeconds, extra: { limit } })
}
