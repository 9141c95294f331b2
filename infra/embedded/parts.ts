import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { run } from './processes.ts'

export type Parts = { postgresBin: string; pgbouncer: string }

const elsewhere = ['/usr/sbin', '/usr/lib/postgresql/*/bin', '/{opt/homebrew,usr/local}/opt/postgresql@*/bin']

/** The folders in which servers are looked for: those of PATH, then where Debian and Homebrew keep them off it. */
export function listFolders(path = ''): string[] {
  return [...path.split(delimiter).filter(Boolean), ...globSync(elsewhere)]
}

/** The first Postgres >= 17 with pgvector >= 0.8 and the first PgBouncer >= 1.21 in the folders, if both are there. */
export function findParts(folders: string[]): Parts | undefined {
  const postgresBin = folders.find(holdsPostgres)
  const pgbouncer = folders.map((folder) => join(folder, 'pgbouncer')).find(isPgbouncer)
  return postgresBin && pgbouncer ? { postgresBin, pgbouncer } : undefined
}

function holdsPostgres(folder: string): boolean {
  if (!isAtLeast(17, 0, ask(join(folder, 'initdb'), '--version'))) return false
  const control = join(ask(join(folder, 'pg_config'), '--sharedir'), 'extension', 'vector.control')
  return existsSync(control) && isAtLeast(0, 8, readFileSync(control, 'utf8').match(/default_version.*/)?.[0] ?? '')
}

function isPgbouncer(file: string): boolean {
  return isAtLeast(1, 21, ask(file, '--version'))
}

function isAtLeast(major: number, minor: number, text: string): boolean {
  const [, first = -1, second = 0] = (/(\d+)(?:\.(\d+))?/.exec(text) ?? []).map(Number)
  return first > major || (first === major && second >= minor)
}

function ask(file: string, option: string): string {
  if (!existsSync(file)) return ''
  try {
    return execFileSync(file, [option], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return ''
  }
}

const waysOut = `Two ways on: run \`docker compose up\` instead, or put PostgreSQL >= 17 with
pgvector >= 0.8 and PgBouncer >= 1.21 on PATH and try again:
  macOS           brew install postgresql@17 pgvector pgbouncer
  Debian, Ubuntu  sudo apt install postgresql-common && sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y
                  sudo apt install postgresql-17-pgvector pgbouncer`

const debian = join(import.meta.dirname, '../../.data/debian')
const ownFolders = [join(debian, 'usr/lib/postgresql/17/bin'), join(debian, 'usr/sbin')]

/**
 * The servers of PATH when they are new enough, else Debian's, fetched once into `.data/debian`.
 * Throws with the two ways out where neither is possible.
 */
export async function obtainParts(report: (line: string) => void, signal?: AbortSignal): Promise<Parts> {
  const found = findParts([...listFolders(process.env.PATH), ...ownFolders])
  if (found) return found
  const canFetch = process.arch === 'x64' && existsSync('/usr/share/keyrings/debian-archive-keyring.gpg')
  if (!canFetch) throw new Error(`No new enough PostgreSQL with pgvector and PgBouncer on PATH. ${waysOut}`)
  report('fetching PostgreSQL, pgvector and PgBouncer from Debian into .data/ (40 MB, once)')
  await run(['bash', join(import.meta.dirname, 'debian.sh'), debian], { signal }).catch((error) => {
    throw new Error(`${error.message}\nFetching from Debian failed. ${waysOut}`)
  })
  const fetched = findParts(ownFolders)
  if (!fetched) throw new Error(`What is in ${debian} does not run here. ${waysOut}`)
  return fetched
}
