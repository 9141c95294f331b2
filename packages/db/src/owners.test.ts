import { sql } from 'drizzle-orm'
import { afterAll, expect, it } from 'vitest'
import { connect } from './client.ts'
import { exported, notExported } from './owner-admin.ts'
import { createKeyring } from './owners.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 10 })
const { owners } = createStore(db)

afterAll(async () => {
  await close()
  await database.drop()
})

it('creates an owner once for concurrent calls', async () => {
  const ids = await Promise.all(Array.from({ length: 10 }, () => owners.ensure('ada')))
  expect(new Set(ids).size).toBe(1)
  expect(await owners.ensure('bob')).not.toBe(ids[0])
})

it('writes only with the first call for an owner', async () => {
  await owners.ensure('grace')
  const readVersion = async () => (await db.execute(sql`select xmin::text from owners where name = 'grace'`)).at(0)
  const before = await readVersion()
  await owners.ensure('grace')
  expect(await readVersion()).toEqual(before)
})

it('records key usage, and skips keys locked by another process', async () => {
  const owner = await owners.ensure('ada')
  for (const id of ['used', 'locked', 'unused']) await owners.addKey(owner, { id, secretHash: 'a hash' })
  await db.transaction(async (tx) => {
    await tx.execute(sql`select from api_keys where id = 'locked' for update`)
    await owners.recordKeyUsage(['locked', 'used', 'unknown'])
  })
  const keys = (await createKeyring(db).list()).filter(({ id }) => ['used', 'locked', 'unused'].includes(id))
  const times = Object.fromEntries(keys.map(({ id, lastUsedAt }) => [id, lastUsedAt]))
  expect(times).toEqual({ used: expect.any(Date), locked: null, unused: null })
})

it('keeps the time of the first revocation', async () => {
  await owners.addKey(await owners.ensure('ada'), { id: 'leaked', secretHash: 'a hash' })
  const { revoke } = createKeyring(db)
  const revoked = await revoke('leaked')
  expect(revoked).toEqual({ owner: 'ada', revokedAt: expect.any(Date) })
  expect(await revoke('leaked')).toEqual(revoked)
  expect(await owners.findKey('leaked')).toBeUndefined()
  expect(await revoke('unknown')).toBeUndefined()
})

it('finds the owner of a key, and none for an unknown or revoked key', async () => {
  const owner = await owners.ensure('ada')
  await owners.addKey(owner, { id: 'key', secretHash: 'a hash' })
  const key = { owner, organization: null, isLibrarian: false, secretHash: 'a hash' }
  expect(await owners.findKey('key')).toEqual({ ...key, tokensPerDay: null, spent: null })
  expect(await owners.findKey('unknown')).toBeUndefined()
  await createKeyring(db).revoke('key')
  expect(await owners.findKey('key')).toBeUndefined()
})

it('a member has one organization, and a key knows it at once', async () => {
  const { owner, organization } = await owners.ensureMember('lin', 'acme')
  expect(await owners.ensureMember('lin', 'acme')).toEqual({ owner, organization })
  await owners.addKey(owner, { id: 'librarian', secretHash: 'a hash', isLibrarian: true })
  expect(await owners.findKey('librarian')).toMatchObject({ organization: null })
  await owners.join(owner, 'acme')
  expect(await owners.findKey('librarian')).toMatchObject({ owner, organization, isLibrarian: true })
  await owners.join(owner, 'globex')
  expect((await owners.findKey('librarian'))?.organization).not.toBe(organization)
  await owners.leave(owner)
  expect(await owners.findKey('librarian')).toMatchObject({ organization: null })
})

it('every table of an owner is exported, or known not to be', async () => {
  const rows = await db.execute<{ name: string }>(
    sql`select table_name as name from information_schema.columns where column_name = 'owner_id' and table_schema = 'public'`,
  )
  expect(rows.map(({ name }) => name).toSorted()).toEqual([...Object.keys(exported), ...notExported].toSorted())
})
