import { randomBytes } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { complete, createScene, text } from './testing-turns.ts'

// What storing running answers costs in the write-ahead log. The counter covers the whole server, so this file runs alone.

const { db, owner, answers, openTurn } = await createScene()
const streams = 200
const bytesPerSecond = 280 // of new text per answer: about 70 tokens
const words = randomBytes(20_000).toString('base64') // which Postgres cannot compress

async function readWal(): Promise<number> {
  const rows = await db.execute<{ bytes: string }>(sql`select pg_current_wal_insert_lsn() - '0/0' as bytes`)
  return Number(rows[0]?.bytes)
}

/** Streams answers of this length. Returns the bytes of WAL per second, with and without the ends of the answers. */
async function stream(length: number) {
  const turns = await Promise.all(Array.from({ length: streams }, () => openTurn()))
  const seconds = Math.floor(length / bytesPerSecond)
  const before = await readWal()
  for (let start = 0; start < seconds * bytesPerSecond; start += bytesPerSecond) {
    const parts = text(words.slice(start, start + bytesPerSecond))
    expect((await answers.saveProgress(turns.map((turn) => ({ ...turn, owner, start, parts })))).size).toBe(streams)
  }
  const streamed = await readWal()
  await Promise.all(
    turns.map((turn) => answers.finish(owner, turn, { ...complete, parts: text(words.slice(0, length)) })),
  )
  return { progress: (streamed - before) / seconds, all: ((await readWal()) - before) / seconds }
}

it('does not grow with the length of the answers', async ({ annotate }) => {
  await stream(1000) // the first rows also create pages
  const short = await stream(5000)
  const long = await stream(20_000)
  const toKilobytes = (bytes: number) => `${(bytes / 1000).toFixed(0)} kB`
  const [some, all] = [long.progress / short.progress, long.all / short.all]
  await annotate(
    `${streams} streams of ${bytesPerSecond} bytes per second, answers of 5 and 20 kB: ${toKilobytes(short.progress)} and ` +
      `${toKilobytes(long.progress)} of WAL per second, ${some.toFixed(2)} times; with the ends of the answers ` +
      `${toKilobytes(short.all)} and ${toKilobytes(long.all)}, ${all.toFixed(2)} times`,
  )
  expect(Math.max(some, all)).toBeLessThanOrEqual(1.2)
})
