import type { DoctorConfig } from '@repo/config'
import {
  hasOutdatedTerms,
  isPooled,
  isSameDatabase,
  probePooling,
  readDifferingSettings,
  readMigrations,
  readPgbouncer,
  readServer,
  type Target,
} from '@repo/db/inspect'
import { checkVersion, type Finding, fail, ok, required, warn } from './examine.ts'

/** Checks that the database accepts connections. */
export async function checkConnection(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  await readServer(targetPooler(config, signal))
  return [ok('connected')]
}

/** Checks the versions of PostgreSQL and pgvector. */
export async function checkVersions(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  const { postgres, pgvector } = await readServer(targetPooler(config, signal))
  return [
    checkVersion('PostgreSQL', postgres, '17', 'run pg_upgrade, or restore a dump into a newer server'),
    pgvector
      ? checkVersion('pgvector', pgvector, '0.8', 'install a newer version, then run `alter extension vector update`')
      : fail('pgvector is not installed in this database', 'run `create extension vector` as a superuser'),
  ]
}

/** Checks that DATABASE_URL connects through a pooler in transaction mode that supports named prepared statements. */
export async function checkPooler(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  const target = targetPooler(config, signal)
  if (!(await isPooled(target)))
    return [
      fail('DATABASE_URL connects to Postgres directly', 'set it to PgBouncer, which usually listens on port 6432'),
    ]
  const findings = {
    transaction: ok('transaction mode with named prepared statements'),
    'transaction, without named statements': fail(
      'named prepared statements are lost when the server connection changes',
      'set max_prepared_statements = 200 in pgbouncer.ini (PgBouncer 1.21 or newer)',
    ),
    session: fail(
      'each client keeps its server connection until it disconnects (session mode)',
      'set pool_mode = transaction in pgbouncer.ini',
    ),
  }
  return [findings[await probePooling(target)]]
}

/** Checks PgBouncer's version and settings through its console. */
export async function checkPgbouncer({ adminUrl }: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  const url = required(adminUrl, 'PGBOUNCER_ADMIN_URL')
  const { version, poolMode, maxPreparedStatements } = await readPgbouncer({ url, signal })
  const findings = [checkVersion('PgBouncer', version, '1.21', 'install a newer version')]
  if (poolMode !== 'transaction')
    findings.push(fail(`pool_mode is ${poolMode}`, 'set pool_mode = transaction in pgbouncer.ini'))
  if (!(maxPreparedStatements > 0))
    findings.push(fail('max_prepared_statements is 0', 'set max_prepared_statements = 200 in pgbouncer.ini'))
  return findings
}

/** Checks that DIRECT_DATABASE_URL does not connect through a pooler. */
export async function checkDirect(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return (await isPooled(targetPostgres(config, signal)))
    ? [fail('DIRECT_DATABASE_URL connects through a pooler', 'set it to Postgres, which usually listens on port 5432')]
    : [ok('connects to Postgres directly')]
}

/** Checks that both URLs point to the same database. */
export async function checkSameDatabase(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return (await isSameDatabase(targetPostgres(config, signal), targetPooler(config, signal)))
    ? [ok('DATABASE_URL and DIRECT_DATABASE_URL point to the same database')]
    : [fail('DATABASE_URL and DIRECT_DATABASE_URL point to different databases', 'use one server and database in both')]
}

/** Checks that all chunks can be found by keyword. */
export async function checkStoredWords(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return (await hasOutdatedTerms(targetPooler(config, signal), config.models?.SEARCH_LANGUAGE))
    ? [
        warn(
          'some documents are not found by keyword: words are now split differently',
          'run `npm run manage -- reindex`',
        ),
      ]
    : [ok('every document can be found by its words')]
}

/** Compares the applied migrations with those of this checkout. */
export async function checkMigrations(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  const { total, pending, isNewer } = await readMigrations(targetPooler(config, signal))
  if (pending > 0) return [fail(`${pending} of ${total} are missing`, 'run `npm run db:migrate`')]
  if (isNewer) return [warn('the database has newer migrations than this checkout', 'update the checkout')]
  return [ok(`all ${total} are applied`)]
}

/** Compares the settings of the database with those of `npm run db:migrate`. */
export async function checkSettings(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  const differing = await readDifferingSettings(targetPooler(config, signal))
  if (differing.length === 0) return [ok('as set by db:migrate')]
  const list = differing.map(({ name, value, wanted }) => `${name} is ${value} instead of ${wanted}`).join(', ')
  return [warn(list, 'run `npm run db:migrate`, then restart PgBouncer: its open connections keep the old settings')]
}

/** Returns the database as the API connects to it. */
export function targetPooler({ databaseUrl }: DoctorConfig, signal: AbortSignal): Target {
  return { url: required(databaseUrl, 'DATABASE_URL'), signal }
}

function targetPostgres({ directUrl }: DoctorConfig, signal: AbortSignal): Target {
  return { url: required(directUrl, 'DIRECT_DATABASE_URL'), signal }
}
