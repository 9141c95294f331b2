import type { DoctorConfig } from '@repo/config'
import {
  isPooled,
  isSameDatabase,
  probePooling,
  readDifferingSettings,
  readMigrations,
  readPgbouncer,
  readServer,
  type Target,
} from '@repo/db/inspect'
import { checkVersion, type Finding, fail, given, ok, warn } from './examine.ts'

export async function checkAnswer(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  await readServer(targetPooler(config, signal))
  return [ok('it answers')]
}

export async function checkVersions(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  const { postgres, pgvector } = await readServer(targetPooler(config, signal))
  return [
    checkVersion('PostgreSQL', postgres, '17', 'pg_upgrade, or a dump into a newer server'),
    pgvector
      ? checkVersion('pgvector', pgvector, '0.8', 'install a newer one, then `alter extension vector update`')
      : fail('pgvector is not in this database', '`create extension vector`, as a superuser'),
  ]
}

export async function checkPooler(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  const target = targetPooler(config, signal)
  if (!(await isPooled(target)))
    return [fail('DATABASE_URL leads straight to Postgres', 'set it to PgBouncer, which listens on 6432 as a rule')]
  const findings = {
    transaction: ok('transaction mode, and named statements follow their client'),
    'transaction, without named statements': fail(
      'named statements are lost when the connection to Postgres changes',
      'max_prepared_statements = 200 in pgbouncer.ini (PgBouncer 1.21 or newer)',
    ),
    session: fail(
      'a client keeps its connection to Postgres for as long as it stays',
      'pool_mode = transaction in pgbouncer.ini',
    ),
  }
  return [findings[await probePooling(target)]]
}

export async function checkPgbouncer({ adminUrl }: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  const url = given(adminUrl, 'PGBOUNCER_ADMIN_URL')
  const { version, poolMode, maxPreparedStatements } = await readPgbouncer({ url, signal })
  const findings = [checkVersion('PgBouncer', version, '1.21', 'install a newer one')]
  if (poolMode !== 'transaction')
    findings.push(fail(`pool_mode is ${poolMode}`, 'pool_mode = transaction in pgbouncer.ini'))
  if (!(maxPreparedStatements > 0))
    findings.push(fail('max_prepared_statements is 0', 'max_prepared_statements = 200 in pgbouncer.ini'))
  return findings
}

export async function checkDirect(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return (await isPooled(targetPostgres(config, signal)))
    ? [fail('DIRECT_DATABASE_URL leads through a pooler', 'set it to Postgres itself, which listens on 5432 as a rule')]
    : [ok('straight to Postgres')]
}

export async function checkSameness(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return (await isSameDatabase(targetPostgres(config, signal), targetPooler(config, signal)))
    ? [ok('DATABASE_URL and DIRECT_DATABASE_URL lead to one')]
    : [fail('DATABASE_URL and DIRECT_DATABASE_URL lead to different ones', 'set both to the same server and name')]
}

export async function checkMigrations(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  const { total, pending, isNewer } = await readMigrations(targetPooler(config, signal))
  if (pending > 0) return [fail(`${pending} of ${total} are missing`, '`npm run db:migrate`')]
  if (isNewer) return [warn('the database has newer ones than this checkout', 'update the checkout')]
  return [ok(`all ${total} are applied`)]
}

export async function checkSettings(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  const differing = await readDifferingSettings(targetPooler(config, signal))
  if (differing.length === 0) return [ok('as db:migrate makes them')]
  const list = differing.map(({ name, value, wanted }) => `${name} is ${value} instead of ${wanted}`).join(', ')
  return [warn(list, '`npm run db:migrate`, then restart PgBouncer: its open connections keep the old ones')]
}

/** Where the API goes. */
export function targetPooler({ databaseUrl }: DoctorConfig, signal: AbortSignal): Target {
  return { url: given(databaseUrl, 'DATABASE_URL'), signal }
}

function targetPostgres({ directUrl }: DoctorConfig, signal: AbortSignal): Target {
  return { url: given(directUrl, 'DIRECT_DATABASE_URL'), signal }
}
