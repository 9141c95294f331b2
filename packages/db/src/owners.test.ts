import { eq } from 'drizzle-orm'
import { afterAll, expect, it } from 'vitest'
import { connect } from './client.ts'
import { apiKeys } from './schema.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 10 })
const { owners } = createStore(db)

afterAll(async () => {
  await close()
  await database.drop()
})

it('makes an owner once, however many ask at once', async () => {
  const ids = await Promise.all(Array.from({ length: 10 }, () => owners.ensure('ada')))
  expect(new Set(ids).size).toBe(1)
  expect(await owners.ensure('bob')).not.toBe(ids[0])
})

it('finds the owner of a key, of an unknown or revoked one nobody', async () => {
  const owner = await owners.ensure('ada')
  await owners.addKey(owner, 'key', 'a hash')
  expect(await owners.findKey('key')).toEqual({ ownerId: owner, secretHash: 'a hash' })
  expect(await owners.findKey('unknown')).toBeUndefined()
  await db.update(apiKeys).set({ revokedAt: new Date() }).where(eq(apiKeys.id, 'key'))
  expect(await owners.findKey('key')).toBeUndefined()
})
