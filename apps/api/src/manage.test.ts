import { createTestDatabase } from '@repo/db/testing'
import { afterAll, describe, expect, it } from 'vitest'
import { runProgram, startApi } from './testing-processes.ts'

const test = await createTestDatabase()
const DATABASE_URL = test.databaseUrl
afterAll(test.drop)

describe('create-key', () => {
  it('prints a key, and nothing else, that a running server takes at once', async () => {
    const api = await startApi({ DATABASE_URL, AUTH: 'required' })
    const ask = async (authorization: string) =>
      (await fetch(`${api.url}/conversations`, { headers: { authorization } })).status
    const { code, out, err } = await runProgram('manage.ts', { DATABASE_URL }, 'create-key', '--owner', 'ada')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/^sl_\w{16}_[\w-]{43}\n$/)
    expect(await ask(`Bearer ${out.trim()}`)).toBe(200)
    expect(await ask(`Bearer ${out.trim().slice(0, -1)}`)).toBe(401)
    expect(api.written.out).not.toContain(out.trim().slice(-43))
  })

  it('says in one line that DATABASE_URL is not set, and what to do', async () => {
    const { code, out, err } = await runProgram('manage.ts', {}, 'create-key', '--owner', 'ada')
    expect(err).toMatch(/^DATABASE_URL is not set.*npm start.*\n$/)
    expect({ code, out }).toEqual({ code: 1, out: '' })
  })

  it('says in one line that the database does not answer', async () => {
    const env = { DATABASE_URL: 'postgres://sluice:hunter2@127.0.0.1:9/sluice' }
    const { code, err } = await runProgram('manage.ts', env, 'create-key', '--owner', 'ada')
    expect(err).toMatch(/^The command failed: .*ECONNREFUSED.*\n$/)
    expect(err).not.toContain('hunter2')
    expect(code).toBe(1)
  })
})

it.each(['', 'create-key', 'create-key --owner=', 'destroy --owner ada'])(
  'shows the usage after “%s”',
  async (args) => {
    const { code, out, err } = await runProgram('manage.ts', { DATABASE_URL }, ...args.split(' '))
    expect(err).toMatch(/^npm run manage -- create-key --owner NAME .*\n$/)
    expect({ code, out }).toEqual({ code: 2, out: '' })
  },
)
