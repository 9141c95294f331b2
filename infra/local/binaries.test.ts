import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findBinaries, listFolders } from './binaries.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice binaries '))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Creates a folder of fake programs whose --version prints what the real ones would print. */
function installFakes(versions: { postgres: string; pgvector?: string; pgbouncer: string }) {
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

describe('findBinaries', () => {
  it.each([
    ['the oldest supported versions', { postgres: '17.0', pgvector: '0.8.0', pgbouncer: '1.21.0' }],
    ['newer versions', { postgres: '18.6 (Debian 18.6-1)', pgvector: '0.10.0', pgbouncer: '1.26.1' }],
    ['a beta', { postgres: '19beta1', pgvector: '1.0.0', pgbouncer: '2.0.0' }],
  ])('accepts %s', (_, versions) => {
    expect(findBinaries(installFakes(versions))).toEqual({ postgresBin: folder, pgbouncer: join(folder, 'pgbouncer') })
  })

  it.each([
    ['PostgreSQL 15', { postgres: '15.18 (Debian 15.18-0+deb12u1)', pgvector: '0.8.0', pgbouncer: '1.24.1' }],
    ['a PostgreSQL without pgvector', { postgres: '17.5', pgbouncer: '1.24.1' }],
    ['pgvector 0.7', { postgres: '17.5', pgvector: '0.7.4', pgbouncer: '1.24.1' }],
    ['PgBouncer 1.18', { postgres: '17.5', pgvector: '0.8.0', pgbouncer: '1.18.0' }],
  ])('rejects %s', (_, versions) => {
    expect(findBinaries(installFakes(versions))).toBeUndefined()
  })

  it('skips folders that contain no server or do not exist', () => {
    const folders = [
      '/nowhere',
      tmpdir(),
      ...installFakes({ postgres: '17.5', pgvector: '0.8.1', pgbouncer: '1.25.2' }),
    ]
    expect(findBinaries(folders)?.postgresBin).toBe(folder)
  })

  it('finds working servers on this machine', () => {
    const own = join(import.meta.dirname, '../../.data/debian/usr')
    const parts = findBinaries([
      ...listFolders(process.env.PATH),
      join(own, 'lib/postgresql/17/bin'),
      join(own, 'sbin'),
    ])
    const version = execFileSync(join(parts?.postgresBin ?? '', 'postgres'), ['--version'], { encoding: 'utf8' })
    expect(Number(version.match(/\d+/)?.[0])).toBeGreaterThanOrEqual(17)
  })
})

it('searches PATH before other folders', () => {
  expect(listFolders('/a:/b').slice(0, 3)).toEqual(['/a', '/b', '/usr/sbin'])
})
