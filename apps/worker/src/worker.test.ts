import { setTimeout as sleep } from 'node:timers/promises'
import { chunks, connect, createStore, eq, sql } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { hashContent } from '@repo/rag'
import { startMockModel } from '@repo/testing/mock-model'
import { startProgram, until } from '@repo/testing/processes'
import { openTcpProxy } from '@repo/testing/tcp-proxy'
import { afterAll, describe, expect, it } from 'vitest'

const test = await createTestDatabase()
const mock = await startMockModel()
const { db, close } = connect({ url: test.databaseUrl, poolSize: 4 })
const { documents, owners } = createStore(db)
const owner = await owners.ensure('ada')

afterAll(async () => {
  await Promise.all([mock.close(), close()])
  await test.drop()
})

const away = { EMBEDDING_MODEL: 'away', OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' }
const embedIn = (ms: number) => ({ EMBEDDING_MODEL: `mock-32?delay=${ms}`, OPENAI_BASE_URL: mock.url })
const slow = embedIn(2000) // long enough to observe a document while it is being processed

async function startWorker(env: Record<string, string> = {}) {
  const worker = startProgram('apps/worker/dist/worker.js', { DATABASE_URL: test.databaseUrl, ...env })
  await worker.findLog(({ msg }) => msg === 'worker started')
  return worker
}

/**
 * Adds a document whose job is retried, and whose crashed worker is detected, within seconds instead of half a minute.
 */
async function add(title: string, text: string, retryLimit = 8) {
  const document = await documents.add(owner, { title, text, contentHash: hashContent(title, text) })
  await db.execute(sql`update pgboss.job set heartbeat_seconds = 2, retry_delay = 1, retry_limit = ${retryLimit}
    where id = ${document.version}`)
  return document
}

const statusOf = async (id: string) => (await documents.find(owner, id))?.status
const untilStatus = (id: string, status: string) => until(async () => (await statusOf(id)) === status)

describe('a worker', () => {
  it('processes documents that were posted before and during its run, and finishes its job on SIGTERM', async () => {
    const before = await add('Before', 'Posted before it ran.')
    const worker = await startWorker(slow)
    await untilStatus(before.id, 'ready')
    const running = await add('Running', 'Posted while it runs.')
    await untilStatus(running.id, 'processing')
    worker.child.kill('SIGTERM')
    expect(await worker.ended).toBe(0)
    expect(await statusOf(running.id)).toBe('ready')
    expect(worker.written.err).toBe('')
    expect(worker.written.out).not.toContain('Posted')
  })

  it('waits for a database that is not running yet', async () => {
    const gate = await openTcpProxy()
    await gate.shut()
    const databaseUrl = new URL(test.databaseUrl)
    databaseUrl.host = gate.host
    const worker = startProgram('apps/worker/dist/worker.js', { DATABASE_URL: databaseUrl.href })
    const { error } = await worker.findLog(({ msg }) => msg === 'the database is unavailable')
    expect(error).toMatchObject({ code: 'ECONNREFUSED' })
    await gate.open()
    await worker.findLog(({ msg }) => msg === 'worker started')
    worker.child.kill('SIGTERM')
    expect(await worker.ended).toBe(0)
    await gate.shut()
  })

  it('reports a wrong password in one line', async () => {
    const databaseUrl = new URL(test.databaseUrl)
    databaseUrl.password = 'hunter2'
    const worker = startProgram('apps/worker/dist/worker.js', { DATABASE_URL: databaseUrl.href })
    expect(await worker.ended).toBe(1)
    expect(worker.written.err).toMatch(/^.*authentication failed.*\n$/)
    expect(worker.written.err).not.toContain('hunter2')
  })

  it('does not restore a document that is deleted during processing, and continues with the next', async () => {
    await startWorker(slow)
    const gone = await add('Gone', 'Deleted in the middle.')
    await untilStatus(gone.id, 'processing')
    expect(await documents.remove(owner, gone.id)).toBe(true)
    const next = await add('Next', 'The one after it.')
    await untilStatus(next.id, 'ready')
    expect(await documents.find(owner, gone.id)).toBeUndefined()
    expect(await db.select().from(chunks).where(eq(chunks.documentId, gone.id))).toEqual([])
    const [job] = await db.execute(sql`select state from pgboss.job where id = ${gone.version}`)
    expect(job).toEqual({ state: 'completed' })
  })

  it('retries later, stores the reason meanwhile, and finally marks the document as failed', async () => {
    await startWorker(away)
    const { id } = await add('Hopeless', 'Nobody embeds it.', 1)
    const waiting = await until(async () => {
      const document = await documents.find(owner, id)
      return document?.status === 'queued' && document.error !== null && document
    })
    expect(waiting.error).toMatch(/model .*Check the base URL/)
    await untilStatus(id, 'failed')
    expect((await documents.find(owner, id))?.error).toBe(waiting.error)
  })

  it('continues after the database was unavailable', async () => {
    const gate = await openTcpProxy()
    const databaseUrl = new URL(test.databaseUrl)
    databaseUrl.host = gate.host
    const worker = await startWorker({ DATABASE_URL: databaseUrl.href, ...slow })
    const { id } = await add('Patient', 'The database comes back.')
    await untilStatus(id, 'processing')
    await gate.shut()
    await sleep(2000)
    await gate.open()
    await untilStatus(id, 'ready')
    expect(worker.child.exitCode).toBe(null)
    worker.child.kill('SIGTERM')
    await worker.ended
    await gate.shut()
  })
})

describe('a worker that is killed', () => {
  it('at any moment loses no document and stores no chunk twice', async ({ annotate }) => {
    const texts = Array.from({ length: 10 }, (_, n) => `# Part ${n}\n\nOne.\n\n## Two\n\nTwo.\n\n## Three\n\nThree.`)
    const added = await Promise.all(texts.map((text, n) => add(`Document ${n}`, text)))
    const isDone = async () => {
      const states = await Promise.all(added.map(({ id }) => statusOf(id)))
      return states.every((status) => status === 'ready')
    }
    let kills = 0
    for (; kills < 5 && !(await isDone()); kills += 1) {
      const worker = await startWorker(embedIn(300))
      await sleep(100 + 200 * kills) // before, during and after its first documents
      worker.child.kill('SIGKILL')
      await worker.ended
    }
    await startWorker(embedIn(300))
    await until(isDone)
    for (const { id } of added) {
      const stored = await db.select().from(chunks).where(eq(chunks.documentId, id)).orderBy(chunks.start)
      expect(stored.map(({ content }) => content)).toEqual(['One.', 'Two.', 'Three.'])
    }
    const [{ left } = {}] = await db.execute(sql`select count(*)::int as left from uploads`)
    expect(left).toBe(0)
    await annotate(`${kills} workers killed in the middle of 10 documents: all ready, each chunk once`)
  })

  it('in its last attempt leaves a document with the reason', async () => {
    const worker = await startWorker(slow)
    const { id } = await add('Deadly', 'It takes its worker with it.', 0)
    await untilStatus(id, 'processing')
    worker.child.kill('SIGKILL')
    await startWorker(slow)
    await untilStatus(id, 'failed')
    expect((await documents.find(owner, id))?.error).toMatch(
      /failed after several attempts\. Upload the document again/,
    )
  })
})
