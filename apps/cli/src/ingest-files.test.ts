import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, sql } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { makePdf } from '@repo/testing/files'
import { runProgram, startProgram, until } from '@repo/testing/processes'
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

  it('reports what could not be read of a file', async () => {
    const partly = join(folder, 'partly')
    mkdirSync(partly)
    writeFileSync(join(partly, 'scan.pdf'), makePdf(['First.', '']))
    const { code, out } = await ingest(partly)
    expect({ code, out }).toEqual({ code: 0, out: expect.stringMatching(/scan\.pdf: No text was found on page 2\./) })
    rmSync(partly, { recursive: true })
  })

  it('reports each file that cannot be added in one line, and adds the others', async () => {
    const odd = join(folder, 'odd')
    const locked = join(odd, 'locked')
    mkdirSync(locked, { recursive: true })
    for (const name of ['empty.txt', 'blank.txt', 'huge.txt', 'secret.txt', 'good.txt', '.hidden.txt', 'locked/in.txt'])
      writeFileSync(join(odd, name), name === 'empty.txt' ? '' : name === 'blank.txt' ? ' \n ' : 'A text.')
    truncateSync(join(odd, 'huge.txt'), 5 * 1024 ** 3)
    const socket = createServer().listen(join(odd, 'socket'))
    for (const [to, name] of [
      ['good.txt', 'link.txt'],
      ['.', 'loop'],
      ['nowhere', 'broken'],
    ] as const)
      symlinkSync(to, join(odd, name))
    for (const path of [join(odd, 'secret.txt'), locked]) chmodSync(path, 0)
    chmodSync(folder, 0o755)
    // Root may read everything, so the command runs as another user.
    const asNobody = process.getuid?.() === 0 ? ['--import', 'data:text/javascript,process.setuid(65534)'] : []
    const arguments_ = ['ingest', odd, `${odd}/../odd/good.txt`, '/proc/self/mem']
    const { ended, written } = startProgram('apps/cli/dist/manage.js', env, arguments_, asNobody)
    expect([await ended, written.err]).toEqual([1, ''])
    const lines = written.out.replaceAll(`${odd}/`, '').trim().split('\n')
    const link = 'it is a symbolic link. Name its target instead'
    expect(lines.filter((line) => /left out:|failed:/.test(line)).toSorted()).toEqual([
      expect.stringMatching(/^\/proc\/self\/mem is left out: it cannot be read: ./),
      expect.stringMatching(/^blank\.txt failed: ./),
      `broken is left out: ${link}`,
      'empty.txt is left out: it is empty',
      'huge.txt is left out: it has more than 50 MB',
      `link.txt is left out: ${link}`,
      'locked is left out: it cannot be read: permission denied',
      `loop is left out: ${link}`,
      'secret.txt is left out: it cannot be read: permission denied',
      'socket is left out: it is not a regular file',
    ])
    expect(lines.at(-1)).toBe('1 ready, 1 failed, 9 left out')
    chmodSync(locked, 0o755)
    socket.close()
  })

  it('ends with one line when the disk of the database is full, and adds the rest when started again', async () => {
    const owner = connect({ url: test.directDatabaseUrl, poolSize: 1 })
    await owner.db.execute(sql`create function fill_disk() returns trigger language plpgsql as $$ begin
      if new.external_id like '%/full/20.txt' then
        raise exception 'could not extend file: No space left on device' using errcode = '53100';
      end if;
      return new; end $$`)
    await owner.db.execute(
      sql`create trigger full_disk before insert on documents for each row execute function fill_disk()`,
    )
    const full = join(folder, 'full')
    mkdirSync(full)
    for (let n = 0; n < 40; n += 1) writeFileSync(join(full, `${n}.txt`), `Port ${n} has its own disk.`)
    const { code, err } = await ingest(full)
    expect([code, err]).toEqual([1, 'Command failed: could not extend file: No space left on device\n'])
    await owner.db.execute(sql`drop trigger full_disk on documents`)
    expect(lastLine(await ingest(full))).toBe('40 ready, 0 failed, 0 left out')
    await owner.close()
  })

  it('neither loses nor doubles a file when Ctrl-C interrupts it and it is started again', async () => {
    const many = join(folder, 'interrupted')
    mkdirSync(many)
    const count = 300
    for (let n = 0; n < count; n += 1) writeFileSync(join(many, `${n}.txt`), `Port ${n} has its own tide.`)
    const { db, close } = connect({ url: test.databaseUrl, poolSize: 1 })
    const readIds = async () => {
      const rows = await db.execute<{ id: string }>(sql`
        select external_id as id from documents where external_id like ${`${many}/%`}`)
      return rows.map(({ id }) => id)
    }
    const { child, ended, written } = startProgram('apps/cli/dist/manage.js', env, ['ingest', many])
    await until(async () => (await readIds()).length > 10)
    child.kill('SIGINT')
    expect(await ended).toBe(1)
    expect(written.err).toMatch(/^Command failed: interrupted\. Queued files will still be processed.*\n$/)
    expect((await readIds()).length).toBeLessThan(count)
    expect(lastLine(await ingest(many))).toBe(`${count} ready, 0 failed, 0 left out`)
    const ids = await readIds()
    expect([ids.length, new Set(ids).size]).toEqual([count, count])
    await close()
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
