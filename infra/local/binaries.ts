import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { run } from './processes.ts'

export type Binaries = { postgresBin: string; pgbouncer: string }

const otherFolders = ['/usr/sbin', '/usr/lib/postgresql/*/bin', '/{opt/homebrew,usr/local}/opt/postgresql@*/bin']

/** Returns the folders to search: those of PATH, then the places outside of it that Debian and Homebrew use. */
export function listFolders(path = ''): string[] {
  return [...path.split(delimiter).filter(Boolean), ...globSync(otherFolders)]
}

/**
 * Returns the first Postgres >= 17 with pgvector >= 0.8 and the first PgBouncer >= 1.21, or undefined if one is
 * missing.
 */
export function findBinaries(folders: string[]): Binaries | undefined {
  const postgresBin = folders.find(hasPostgres)
  const pgbouncer = folders.map((folder) => join(folder, 'pgbouncer')).find(isPgbouncer)
  return postgresBin && pgbouncer ? { postgresBin, pgbouncer } : undefined
}

function hasPostgres(folder: string): boolean {
  if (!isAtLeast(17, 0, readOutput(join(folder, 'initdb'), '--version'))) return false
  const control = join(readOutput(join(folder, 'pg_config'), '--sharedir'), 'extension', 'vector.control')
  return existsSync(control) && isAtLeast(0, 8, readFileSync(control, 'utf8').match(/default_version.*/)?.[0] ?? '')
}

function isPgbouncer(file: string): boolean {
  return isAtLeast(1, 21, readOutput(file, '--version'))
}

function isAtLeast(major: number, minor: number, text: string): boolean {
  const [, first = -1, second = 0] = (/(\d+)(?:\.(\d+))?/.exec(text) ?? []).map(Number)
  return first > major || (first === major && second >= minor)
}

function readOutput(file: string, option: string): string {
  if (!existsSync(file)) return ''
  try {
    return execFileSync(file, [option], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return ''
  }
}

const alternatives = `Run \`docker compose up\` instead, or install PostgreSQL >= 17 with pgvector >= 0.8 and
PgBouncer >= 1.21 on PATH and try again:
  macOS           brew install postgresql@17 pgvector pgbouncer
  Debian, Ubuntu  sudo apt install postgresql-common && sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y
                  sudo apt install postgresql-17-pgvector pgbouncer`

const debian = join(import.meta.dirname, '../../.data/debian')
const downloadFolders = [join(debian, 'usr/lib/postgresql/17/bin'), join(debian, 'usr/sbin')]

/**
 * Returns the servers on PATH if they are new enough, otherwise Debian's, downloaded once into `.data/debian`. Throws
 * an error with the alternatives if neither is possible.
 */
export async function ensureBinaries(report: (line: string) => void, signal?: AbortSignal): Promise<Binaries> {
  const found = findBinaries([...listFolders(process.env.PATH), ...downloadFolders])
  if (found) return found
  const canDownload = ['x64', 'arm64'].includes(process.arch) && existsSync('/usr/bin/apt-get')
  if (!canDownload)
    throw new Error(`PostgreSQL with pgvector or PgBouncer is missing on PATH or too old. ${alternatives}`)
  report('downloading PostgreSQL, pgvector and PgBouncer from Debian into .data/ (40 MB, once)')
  await run(['bash', join(import.meta.dirname, 'debian.sh'), debian], { signal }).catch((error) => {
    throw new Error(`${error.message}\nDownload from Debian failed. ${alternatives}`)
  })
  const downloaded = findBinaries(downloadFolders)
  if (!downloaded) throw new Error(`The servers in ${debian} do not run on this machine. ${alternatives}`)
  return downloaded
}
