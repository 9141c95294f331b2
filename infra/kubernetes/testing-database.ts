import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import { until } from '../../packages/testing/src/processes.ts'
import { openTcpProxy } from '../../packages/testing/src/tcp-proxy.ts'
import { run } from '../local/processes.ts'
import { findFreePort } from '../local/stack.ts'
import type { BreakableStack } from '../testing-faults.ts'

/**
 * Adds a streaming standby to a stack that nothing uses yet. The primary waits for `synchronous` standbys at each
 * commit. A TCP proxy stands in for the operator's Service `postgres-rw`: its address stays, and where it leads changes.
 */
export async function addStandby(stack: BreakableStack, directory: string, synchronous: number) {
  const [data, copy] = [join(directory, 'data'), join(directory, 'standby')]
  await stack.stopPostgres()
  await run(['cp', '-a', data, copy])
  const { hostname, port, username, password } = new URL(stack.directDatabaseUrl)
  const primary = `host=${hostname} port=${port} user=${username} password=${password} application_name=standby`
  appendFileSync(join(copy, 'postgresql.auto.conf'), `primary_conninfo = '${primary}'\n`)
  writeFileSync(join(copy, 'standby.signal'), '')
  appendFileSync(join(data, 'postgresql.auto.conf'), `synchronous_standby_names = 'ANY ${synchronous} (standby)'\n`)
  const server = stack.startPostgres()
  const standbyUrl = new URL(stack.directDatabaseUrl)
  standbyUrl.port = `${await findFreePort()}`
  stack.startPostgres('standby', Number(standbyUrl.port), copy)

  const service = await openTcpProxy(stack.directDatabaseUrl)
  const ini = join(directory, 'pgbouncer.ini')
  const to = service.host.replace(':', ' port=')
  writeFileSync(ini, readFileSync(ini, 'utf8').replace(/^\* = .*$/m, `* = host=${to}`))
  process.kill(stack.findPid('pgbouncer') ?? 0, 'SIGHUP') // reads its file again
  const isPromoted = async () => {
    const sql = postgres(standbyUrl.href, { max: 1, fetch_types: false })
    const [row] = await sql`select not pg_is_in_recovery() as promoted`.finally(() => sql.end()).catch(() => [])
    return row?.promoted
  }
  await until(async () => (await isPromoted()) === false)

  return {
    /** Kills the primary, as when its node is lost. */
    killPrimary: async () => {
      server.kill()
      await server.ended
    },
    /** Promotes the standby as `pg_ctl promote` does, and moves the Service to it. */
    promote: async () => {
      writeFileSync(join(copy, 'promote'), '')
      process.kill(stack.findPid('standby') ?? 0, 'SIGUSR1')
      await until(isPromoted)
      service.pointTo(standbyUrl.href)
    },
    close: service.shut,
  }
}
