import { accessSync, constants } from 'node:fs'
import { z } from 'zod'

const invalid = 'must be a URL like postgres://user:password@host:6432/database'

/** The parameters that reach the drivers. */
const parameters: Record<string, RegExp> = {
  application_name: /./,
  host: /./, // a name, or the folder of a Unix socket
  port: /^\d+$/,
  sslmode: /^(disable|prefer|require|verify-ca|verify-full)$/,
  sslrootcert: /./,
}
/** Parameters of other clients that change nothing here: the drivers do not bind channels and have their own timeout. */
const ignored: Record<string, RegExp> = {
  channel_binding: /^(disable|prefer|require)$/,
  connect_timeout: /^\d+$/,
  pgbouncer: /^(true|false)$/,
}

/**
 * The URL of a database as providers print it. The drivers would send unknown parameters to PgBouncer, which refuses
 * each connection for them.
 */
export const databaseUrl = z.string(invalid).transform((value, { addIssue }) => {
  // libpq allows an empty host before `?host=`, where `new URL` throws.
  const text = value.replace(/^(\w+:\/\/[^/?#]*@)(?=\/)/, '$1localhost')
  const url = URL.canParse(text) && /^postgres(ql)?:\/\//.test(text) ? new URL(text) : undefined
  const problem = url ? findProblem(url) : hasUnescaped(text) ? unescaped : invalid
  if (problem) addIssue({ code: 'custom', message: problem })
  for (const name of Object.keys(ignored)) url?.searchParams.delete(name)
  return url?.href ?? ''
})

const unescaped = 'must have its special characters percent-encoded, such as %40 for @ and %2F for / in the password'

function findProblem(url: URL): string | undefined {
  if (hasUnescaped(url.href) || !isDecodable(url)) return unescaped
  for (const [name, value] of url.searchParams) {
    const pattern = parameters[name] ?? ignored[name]
    if (!pattern) return `has the unsupported parameter ${name}. Remove it. Supported are ${listNames()}`
    if (!pattern.test(value)) return `has an invalid ${name}. ${describe(name, pattern)}`
  }
  const authority = url.searchParams.get('sslrootcert')
  if (authority && !isReadable(authority)) return 'has an invalid sslrootcert. It must be the path of a readable file'
  if (!authority && url.searchParams.get('sslmode') === 'verify-ca')
    return 'has sslmode=verify-ca without sslrootcert. Add it, or use sslmode=verify-full'
  return undefined
}

/** Whether a character of the password ends the host, which moves the rest, including `@`, into the path or query. */
function hasUnescaped(url: string): boolean {
  return /:\/\/[^/?#]*[/?#].*@|#/.test(url)
}

function isDecodable({ username, password, hostname, pathname }: URL): boolean {
  try {
    return decodeURIComponent(`${username}${password}${hostname}${pathname}`) !== undefined
  } catch {
    return false
  }
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}

const listNames = () => Object.keys({ ...parameters, ...ignored }).join(', ')

function describe(name: string, { source }: RegExp): string {
  const values = source.match(/\((.*)\)/)?.[1]?.replaceAll('|', ' or ')
  return `Use ${name}=${values ?? 'NUMBER'}`
}
