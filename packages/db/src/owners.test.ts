import { sql } from 'drizzle-orm'
import { afterAll, expect, it } from 'vitest'
import { connect } from './client.ts'
import { createKeyring } from './keyring.ts'
import { exported, notExported } from './owner-admin.ts'
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
  const key = { owner, organization: null, isLibrarian: false, secretHash: 'a hash', scopes: null, isExpired: false }
  expect(await owners.findKey('key')).toEqual({ ...key, tokensPerDay: null, spent: null })
  expect(await owners.findKey('unknown')).toBeUndefined()
  await createKeyring(db).revoke('key')
  expect(await owners.findKey('key')).toBeUndefined()
})

const hourMs = 3_600_000
const isNear = (time: Date | null | undefined, expected: number) =>
  time ? Math.abs(time.getTime() - expected) < hourMs / 4 : false // both clocks are this machine's, but it may be slow

it('rotates a key: the new one has everything of the old, which expires after the overlap', async () => {
  const { rotate, list } = createKeyring(db)
  const findKeys = async (name: string) => (await list()).filter(({ owner }) => owner === name)
  const owner = await owners.ensure('katherine')
  await owners.join(owner, 'acme')
  const settings = { isLibrarian: true, scopes: ['read' as const], tokensPerDay: 7 }
  const expiresAt = new Date(Date.now() + 48 * hourMs)
  await owners.addKey(owner, { id: 'old', secretHash: 'a hash', ...settings, expiresAt })
  await db.execute(sql`update api_keys set created_at = now() - interval '48 hours' where id = 'old'`)
  const { key, ...replaced } = await rotate('old', 24 * hourMs)
  const id = key.slice(3, 19)
  const now = Date.now()
  expect(replaced.owner).toBe('katherine')
  const [old, next] = await findKeys('katherine')
  expect(isNear(old?.expiresAt, now + 24 * hourMs)).toBe(true)
  expect(replaced.expiresAt).toEqual(old?.expiresAt)
  expect({ id: next?.id, later: isNear(next?.expiresAt, now + 96 * hourMs) }).toEqual({ id, later: true })
  const { secretHash: _, ...found } = (await owners.findKey('old')) ?? { secretHash: '' }
  expect(await owners.findKey(id)).toMatchObject({ ...found, ...settings, isExpired: false })

  await expect(rotate('old', 0)).rejects.toThrow(`Key old was replaced by ${id} before. Rotate that one.`)
  await rotate(id, 0)
  expect(await owners.findKey(id)).toMatchObject({ isExpired: true })
  await expect(rotate('none', 0)).rejects.toThrow(/^No key has the ID none\. .*list-keys/)
  expect(await findKeys('katherine')).toHaveLength(3)
})

it('rotates a key without expiry to one without expiry, and does not extend a short life', async () => {
  const { rotate, list, revoke } = createKeyring(db)
  const owner = await owners.ensure('dorothy')
  await owners.addKey(owner, { id: 'eternal', secretHash: 'a hash' })
  await owners.addKey(owner, { id: 'dying', secretHash: 'a hash', expiresAt: new Date(Date.now() + hourMs) })
  const { key } = await rotate('eternal', hourMs)
  await rotate('dying', 24 * hourMs)
  const times = new Map((await list()).map(({ id, expiresAt }) => [id, expiresAt]))
  expect(times.get(key.slice(3, 19))).toBeNull()
  expect(isNear(times.get('dying'), Date.now() + hourMs)).toBe(true)
  await owners.addKey(owner, { id: 'revoked', secretHash: 'a hash' })
  await revoke('revoked')
  await expect(rotate('revoked', 0)).rejects.toThrow('Key revoked was revoked.')
})

it('two operators who rotate a key at once get one new key', async () => {
  const { rotate, list } = createKeyring(db)
  await owners.addKey(await owners.ensure('annie'), { id: 'twice', secretHash: 'a hash' })
  const results = await Promise.allSettled([rotate('twice', 0), rotate('twice', 0)])
  expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  expect((await list()).filter(({ owner }) => owner === 'annie')).toHaveLength(2)
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
