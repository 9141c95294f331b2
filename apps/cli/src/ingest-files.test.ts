import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTestDatabase } from '@repo/db/testing'
import { runProgram, startProgram } from '@repo/testing/processes'
import { afterAll, describe, expect, it } from 'vitest'

const test = await createTestDatabase()
const env = { DATABASE_URL: test.databaseUrl, DIRECT_DATABASE_URL: test.directDatabaseUrl }
const folder = mkdtempSync(join(tmpdir(), 'sluice-files-'))
const write = (name: string, text: string | Buffer) => writeFileSync(join(folder, name), text)

afterAll(async () => {
  rmSync(folder, { recursive: true })
  await test.drop()
})

describe('manage ingest', () => {
  const ingest = (...paths: string[]) => runProgram('apps/cli/dist/manage.js', env, 'ingest', ...paths)
  const lastLine = ({ out }: { out: string }) => out.trim().split('\n').at(-1)

  startProgram('apps/worker/dist/worker.js', env)
  mkdirSync(join(folder, 'deep'))
  write('a.md', '# A\n\nThe first.')
  write('deep/b.txt', 'The second.')
  write('.hidden', 'Never read.')

  it('queues all files of a folder, waits for the worker, and skips unchanged files', async () => {
    const first = await ingest(folder)
    expect(first).toMatchObject({ code: 0, err: '' })
    expect(first.out).toMatch(/^2 files, 2 of them new or changed\n(\d of 2 done\n)+2 ready, 0 failed, 0 left out\n$/)
    expect((await ingest(folder)).out).toBe('2 files, 0 of them new or changed\n2 ready, 0 failed, 0 left out\n')
    write('a.md', '# A\n\nThe first, changed.')
    expect((await ingest(folder)).out).toMatch(/^2 files, 1 of them new or changed\n/)
  })

  it('reports files that it skips, and exits with an error', async () => {
    write('c.png', Buffer.from('89504e470d0a1a0a0000000d4948445200000001000000010802000000', 'hex'))
    write('d.md', '{\\rtf1 Tides}')
    const result = await ingest(folder)
    expect(result.out).toMatch(/^\/.*c\.png is left out: Images \(\.png\) are not supported\. Run text recognition/m)
    expect(result.out).toMatch(/^\/.*d\.md is left out: RTF files \(\.rtf\) are not supported\. Save it as/m)
    expect([result.code, lastLine(result)]).toEqual([1, '2 ready, 0 failed, 2 left out'])
  })

  it('ingests 2,000 short files, and queues none of them the next time', async ({ annotate, skip }) => {
    skip(!process.env.SLUICE_FULL, 'it takes a minute: npm test -- --full')
    const many = join(folder, 'many')
    mkdirSync(many)
    const sentence = 'The harbour master writes the tide of the day into a book, with wind and weather. '
    for (let n = 0; n < 2000; n += 1) writeFileSync(join(many, `${n}.txt`), `Port ${n}. ${sentence.repeat(6)}`)
    const timed = async () => {
      const startedAt = performance.now()
      return { ...(await ingest(many)), seconds: (performance.now() - startedAt) / 1000 }
    }
    const first = await timed()
    expect(first.out).toMatch(/^dropped the vector index.*\n/)
    expect(lastLine(first)).toBe('2000 ready, 0 failed, 0 left out')
    const again = await timed()
    expect(again.out).toMatch(/^(\d+ of 2000 queued\n){4}2000 files, 0 of them new or changed\n2000 ready/)
    const toRate = ({ seconds }: { seconds: number }) => `${(2000 / seconds).toFixed(0)} per second`
    await annotate(`2,000 short files: ${toRate(first)}; unchanged: ${toRate(again)}`)
  })

  it('reports a missing path in one line', async () => {
    const { code, err } = await ingest('/no/such/path')
    expect(err).toMatch(/^Command failed: ENOENT.*\/no\/such\/path'\n$/)
    expect(code).toBe(1)
  })
})
