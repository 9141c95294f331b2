import { parse } from 'pg-connection-string'
import type { Options } from 'postgres'

/**
 * Returns the URL of a database as options. The two drivers read URLs differently: `postgres` cannot connect to IPv6
 * addresses and sends `host` and `sslrootcert` to the server, and `pg` verifies certificates with `sslmode=require`. With
 * `sslmode=prefer`, `pg` uses no TLS, because it cannot fall back from it.
 * Throws if `sslrootcert` cannot be read.
 */
export function readDatabaseUrl(url: string) {
  const { host, port, user, password, ssl, application_name } = parse(url, { useLibpqCompat: true })
  const database = decodeURIComponent(new URL(url).pathname.slice(1))
  return {
    host: host || 'localhost',
    port: Number(port || 5432),
    ssl: typeof ssl === 'object' && !isTlsOptional(url) ? ssl : false,
    ...(database && { database }),
    ...(user && { user }),
    ...(password && { password }),
    ...(application_name && { application_name }),
  }
}

/** Returns the same as options of `postgres`, which splits a host at its colons unless it is in a list. */
export function readPostgresOptions(url: string): Options<Record<string, never>> {
  const { host, port, ssl, application_name, ...rest } = readDatabaseUrl(url)
  const socket = host.startsWith('/') && { path: `${host}/.s.PGSQL.${port}` }
  const address = Object({ host: [host], port: [port] }) // the driver's types lack lists
  const tls = { ssl: isTlsOptional(url) ? ('prefer' as const) : ssl }
  return { ...rest, ...tls, ...socket, ...address, connection: { ...(application_name && { application_name }) } }
}

const isTlsOptional = (url: string) => new URL(url).searchParams.get('sslmode') === 'prefer'
