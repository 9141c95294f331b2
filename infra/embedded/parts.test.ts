import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findParts, listFolders } from './parts.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice parts '))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** A folder whose programs answer to --version as the real ones of that version do. */
function installParts(versions: { postgres: string; pgvector?: string; pgbouncer: string }) {
  const write = (name: string, output: string) => {
    writeFileSync(join(folder, name), `#!/bin/sh\necho '${output}'\n`)
    chmodSync(join(folder, name), 0o755)
  }
  write('initdb', `initdb (PostgreSQL) ${versions.postgres}`)
  write('pg_config', folder)
  write('pgbouncer', `PgBouncer ${versions.pgbouncer}\nlibevent 2.1.12-stable`)
  mkdirSync(join(folder, 'extension'))
  if (versions.pgvector) {
    const control = `comment = 'vector data type'\ndefault_version = '${versions.pgvector}'\nrelocatable = true\n`
    writeFileSync(join(folder, 'extension/vector.control'), control)
  }
  return [folder]
}

describe('findParts', () => {
  it.each([
    ['the oldest that will do', { postgres: '17.0', pgvector: '0.8.0', pgbouncer: '1.21.0' }],
    ['newer ones', { postgres: '18.6 (Debian 18.6-1)', pgvector: '0.10.0', pgbouncer: '1.26.1' }],
    ['a beta', { postgres: '19beta1', pgvector: '1.0.0', pgbouncer: '2.0.0' }],
  ])('takes %s', (_, versions) => {
    expect(findParts(installParts(versions))).toEqual({ postgresBin: folder, pgbouncer: join(folder, 'pgbouncer') })
  })

  it.each([
    ['PostgreSQL 15', { postgres: '15.18 (Debian 15.18-0+deb12u1)', pgvector: '0.8.0', pgbouncer: '1.24.1' }],
    ['a PostgreSQL without pgvector', { postgres: '17.5', pgbouncer: '1.24.1' }],
    ['pgvector 0.7', { postgres: '17.5', pgvector: '0.7.4', pgbouncer: '1.24.1' }],
    ['PgBouncer 1.18', { postgres: '17.5', pgvector: '0.8.0', pgbouncer: '1.18.0' }],
  ])('refuses %s', (_, versions) => {
    expect(findParts(installParts(versions))).toBeUndefined()
  })

  it('passes over folders that hold none or do not exist', () => {
    const folders = [
      '/nowhere',
      tmpdir(),
      ...installParts({ postgres: '17.5', pgvector: '0.8.1', pgbouncer: '1.25.2' }),
    ]
    expect(findParts(folders)?.postgresBin).toBe(folder)
  })

  it('finds servers that run', () => {
    const own = join(import.meta.dirname, '../../.data/debian/usr')
    const parts = findParts([...listFolders(process.env.PATH), join(own, 'lib/postgresql/17/bin'), join(own, 'sbin')])
    const version = execFileSync(join(parts?.postgresBin ?? '', 'postgres'), ['--version'], { encoding: 'utf8' })
    expect(Number(version.match(/\d+/)?.[0])).toBeGreaterThanOrEqual(17)
  })
})

it('PATH comes before the places outside of it', () => {
  expect(listFolders('/a:/b').slice(0, 3)).toEqual(['/a', '/b', '/usr/sbin'])
})
