import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createStore, sql } from '@repo/db'
import { hasEmbeddingIndex } from '@repo/db/inspect'
import { createTestDatabase } from '@repo/db/testing'
import { runProgram, startProgram, until } from '@repo/testing/processes'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { loadWithoutIndex } from './bulk-load.ts'

const test = await createTestDatabase()
const { db, close } = connect({ url: test.databaseUrl, poolSize: 1 })
const folder = mkdtempSync(join(tmpdir(), 'sluice-bulk-'))
const vector = Array.from({ length: 384 }, (_, n) => Math.sin(n))
const embedder = { name: 'offline-384', embed: async () => [vector] }
const env = { DATABASE_URL: test.databaseUrl, DIRECT_DATABASE_URL: test.directDatabaseUrl }

afterAll(async () => {
  rmSync(folder, { recursive: true })
  await close()
  await test.drop()
})

const hasIndex = () =>
  hasEmbeddingIndex({ url: test.databaseUrl, signal: AbortSignal.timeout(120_000) }, embedder.name, vector.length)

describe('loadWithoutIndex', () => {
  const lines: string[] = []
  const options = { directUrl: test.directDatabaseUrl, embedder, report: (line: string) => void lines.push(line) }
  const document = { title: 'Tides', text: 'The tide turns.', contentHash: 'tides' }
  const chunk = { heading: '', content: document.text, start: 0, end: 15, embedding: vector }

  it('runs the load without the index, serves searches meanwhile, and rebuilds the index afterwards', async () => {
    const { owners, documents, passages } = createStore(db)
    const owner = await owners.ensure('ada')
    const { id } = await documents.add(owner, document)
    const query = { text: 'zyzzyva', embedding: JSON.stringify(vector), embeddingModel: embedder.name, limit: 5 }
    const load = async () => {
      await documents.addChunks(owner, id, embedder.name, [chunk])
      return { indexed: await hasIndex(), found: await passages.search(owner, query) }
    }
    expect(await loadWithoutIndex(options, load)).toMatchObject({ indexed: false, found: [{ documentId: id }] })
    expect(await hasIndex()).toBe(true)
    expect(await passages.search(owner, query)).toMatchObject([{ documentId: id }])
    expect(lines.splice(0)).toEqual([line('dropped the vector index'), line('building the vector index')])
  })

  it('rebuilds the index when the load fails, and rejects with the error of the load', async () => {
    const load = async () => Promise.reject(new Error(`the index is ${(await hasIndex()) ? 'there' : 'gone'}`))
    await expect(loadWithoutIndex(options, load)).rejects.toThrow('the index is gone')
    expect(await hasIndex()).toBe(true)
  })

  it('keeps the index and says so when it cannot connect to Postgres directly', async () => {
    lines.splice(0)
    expect(await loadWithoutIndex({ ...options, directUrl: 'postgres://a@127.0.0.1:9/b' }, hasIndex)).toBe(true)
    expect(lines).toEqual([line('keeping the vector index: .*ECONNREFUSED')])
  })

  it('keeps the index when there are more than 1,000 chunks, counted over all owners', async () => {
    await db.execute(sql`
      with one as (insert into documents (owner_id, title, text, content_hash, status)
        select id, '', '', 'many', 'ready' from owners returning *)
      insert into chunks (owner_id, document_id, heading, content, start, "end", embedding_model, embedding)
      select owner_id, id, '', '', 0, 0, 'other', '[1]' from one, generate_series(1, 1000)`)
    onTestFinished(async () => void (await db.execute(sql`delete from documents`)))
    expect(await loadWithoutIndex(options, hasIndex)).toBe(true)
    await db.execute(sql`delete from chunks where embedding_model <> ${embedder.name}`)
    expect(await loadWithoutIndex(options, hasIndex)).toBe(false)
  })
})

describe('manage ingest of 1,000 files', () => {
  for (let n = 0; n < 1000; n += 1) writeFileSync(join(folder, `${n}.txt`), `Port ${n} has its own tide.`)

  const isBuilding = async () =>
    (await db.execute(sql`select from pg_stat_progress_create_index where datname = current_database()`)).length > 0

  /** Starts the command, which then waits because no worker is running. */
  async function startIngest() {
    const command = startProgram('apps/cli/dist/manage.js', env, ['ingest', folder])
    await until(() => command.written.out.includes(' queued\n'))
    expect(await hasIndex()).toBe(false)
    return command
  }

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('rebuilds the index when %s stops it', async (signal) => {
    const { child, ended, written } = await startIngest()
    child.kill(signal)
    child.kill(signal) // npm repeats the signal
    expect(await ended).toBe(1)
    expect(written.out).toMatch(/\nbuilding the vector index.*\n$/)
    expect(written.err).toMatch(/^Command failed: interrupted\. Queued files will still be processed.*\n$/)
    expect(await hasIndex()).toBe(true)
  })

  it('exits at the second SIGINT while Postgres completes the build', async () => {
    const { child, ended } = await startIngest()
    const direct = connect({ url: test.directDatabaseUrl, poolSize: 1 })
    onTestFinished(direct.close)
    await direct.db.transaction(async (tx) => {
      await tx.execute(sql`set local idle_in_transaction_session_timeout = 0`)
      await tx.execute(sql`lock table chunks in row exclusive mode`) // like a writer, this makes the build wait
      child.kill('SIGINT')
      await until(isBuilding)
      await until(() => !child.kill('SIGINT')) // until the process has exited
      expect(await ended).toBe(null)
      expect(await hasIndex()).toBe(false)
    })
    await until(hasIndex)
  })

  it('leaves no index when it is killed; doctor reports this and db:migrate rebuilds it', async () => {
    const { child, ended } = await startIngest()
    child.kill('SIGKILL')
    await ended
    expect(await hasIndex()).toBe(false)
    expect((await runProgram('apps/cli/dist/manage.js', env, 'doctor')).out).toMatch(
      /^warn {2}vector index: offline-384 has none: .*`npm run db:migrate`$/m,
    )
    expect(await runProgram('apps/cli/dist/migrate.js', env)).toMatchObject({ code: 0, err: '' })
    expect(await hasIndex()).toBe(true)
  })
})

const line = (start: string) => expect.stringMatching(new RegExp(`^${start}`))
