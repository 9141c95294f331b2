import { randomUUID } from 'node:crypto'
import { createKey, type KeyOptions, type Store } from '@repo/db'
import { startIssuer } from './testing-issuer.ts'

/** How someone who asks for what is Alice's is related to her. She belongs to Acme, and is no librarian. */
const relations = {
  'belongs to no organization': {},
  'belongs to her organization': { organization: 'acme' },
  'is a librarian of her organization': { organization: 'acme', isLibrarian: true },
  'belongs to another organization': { organization: 'globex' },
  'is a librarian of another organization': { organization: 'globex', isLibrarian: true },
} satisfies Record<string, KeyOptions>

type Relation = { organization?: string; isLibrarian?: boolean }
type Credential = (store: Store, relation: Relation) => Promise<string>

const issuer = await startIssuer('api')
export const environment = {
  ...issuer.environment,
  JWT_ORGANIZATION_CLAIM: 'org',
  JWT_LIBRARIAN_CLAIM: 'roles=librarian',
}

const withToken: Credential = (_, { organization, isLibrarian }) =>
  issuer.sign(randomUUID(), { org: organization, roles: isLibrarian ? ['reader', 'librarian'] : [] })
const withKey: Credential = (store, relation) => createKey(store, `bob ${randomUUID()}`, relation)

const credentials = [withKey, withToken]
const all = Object.values<Relation>(relations).flatMap((relation) =>
  credentials.map((create) => ({ relation, create })),
)

/**
 * Returns a function that returns the next relation and kind of credentials, and how to `create` an owner with them, or to
 * take the last one that was created so: `reuse`. With `isOutside`, it leaves out her organization.
 */
export function createStrangers(store: Store) {
  let count = 0
  const last = new Map<object, { authorization: string }>()
  return (isOutside = false) => {
    const choices = isOutside ? all.filter(({ relation }) => relation.organization !== 'acme') : all
    const choice = choices[count++ % choices.length] ?? { relation: {}, create: withKey }
    const create = async () => {
      const headers = { authorization: `Bearer ${await choice.create(store, choice.relation)}` }
      last.set(choice, headers)
      return headers
    }
    return {
      isInside: choice.relation.organization === 'acme',
      create,
      reuse: async () => last.get(choice) ?? (await create()),
    }
  }
}
