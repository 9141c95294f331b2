import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'
import { expect, it, onTestFinished } from 'vitest'
import { migrate, migrationsFolder } from './migrate.ts'
import { createStore } from './store.ts'
import { createTestDatabase, dropDatabase } from './testing.ts'

/** Copies the migrations before `tag` to a separate folder. */
function copyMigrationsBefore(tag: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'migrations-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  cpSync(migrationsFolder, folder, { recursive: true })
  const file = join(folder, 'meta', '_journal.json')
  const journal = JSON.parse(readFileSync(file, 'utf8'))
  const index = journal.entries.findIndex((entry: { tag: string }) => entry.tag === tag)
  writeFileSync(file, JSON.stringify({ ...journal, entries: journal.entries.slice(0, index) }))
  return folder
}

const sha256 = (...parts: (string | Buffer)[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex')

it('the migration to uploads in parts keeps queued content and recognises reposted texts', async () => {
  const server = await createTestDatabase()
  const name = `upgraded_${process.pid}`
  const url = new URL(server.directDatabaseUrl)
  const admin = postgres(url.href, { max: 1, fetch_types: false })
  await admin.unsafe(`create database ${name}`)
  await admin.end()
  url.pathname = `/${name}`
  const client = postgres(url.href, { max: 1, fetch_types: false, onnotice: () => {} })
  const db = drizzle(client)
  onTestFinished(async () => {
    await client.end()
    await dropDatabase(name)
    await server.drop()
  })
  await applyMigrations(db, { migrationsFolder: copyMigrationsBefore('0008_uploads_in_parts') })

  const pdf = Buffer.concat([Buffer.from('%PDF'), Buffer.alloc(200_000, 7)])
  const [owner = { id: '' }] = await db.execute<{ id: string }>(
    sql`insert into owners (name) values ('ada') returning id`,
  )
  const insert = async (title: string, text: string, hash: string, status: string) => {
    const [row] = await db.execute<{ id: string; version: string }>(sql`
      insert into documents (owner_id, title, text, content_hash, status)
      values (${owner.id}, ${title}, ${text}, ${hash}, ${status}) returning id, version`)
    return row ?? { id: '', version: '' }
  }
  const ready = await insert('Tides 潮', 'It \\turns.', sha256('\0Tides 潮\0It \\turns.'), 'ready')
  const other = await insert('Scan', 'The text of a PDF.', 'f'.repeat(64), 'ready')
  const waiting = await insert('Waiting', '', sha256('\0Waiting\0', pdf), 'queued')
  await db.execute(sql`insert into uploads (document_id, owner_id, title, media_type, bytes)
    values (${waiting.id}, ${owner.id}, 'Waiting', 'application/pdf', decode(${pdf.toString('hex')}, 'hex'))`)

  await migrate({ directUrl: url.href })

  const { documents, uploads } = createStore(db)
  const { upload } = (await documents.begin(owner.id, waiting)) ?? {}
  if (!upload) throw new Error('the upload is gone')
  expect(upload).toMatchObject({ title: 'Waiting', mediaType: 'application/pdf', size: pdf.length })
  expect((await buffer(uploads.read(owner.id, upload))).equals(pdf)).toBe(true)
  const post = (title: string, digest: string) =>
    documents.add(owner.id, { title, text: 'a', contentHash: sha256(`\0${title}\0${digest}`) })
  expect(await post('Tides 潮', sha256('It \\turns.'))).toMatchObject({ id: ready.id, status: 'ready' })
  expect(await post('Waiting', sha256(pdf))).toMatchObject({ id: waiting.id })
  const [row] = await db.execute(sql`select content_hash from documents where id = ${other.id}`)
  expect(row).toEqual({ content_hash: 'f'.repeat(64) })
})
