import { describe, expect, it } from 'vitest'
import { ConfigError, readConfig } from './index.ts'

const read = (DATABASE_URL: string) => readConfig({ DATABASE_URL }).DATABASE_URL

const supported =
  'Supported are application_name, host, port, sslmode, sslrootcert, channel_binding, connect_timeout, pgbouncer'
const unescaped = 'must have its special characters percent-encoded, such as %40 for @ and %2F for / in the password'
const at = 'postgres://u:p@db.example:6432/app'

it.each([
  ['Neon', `${at}?sslmode=require&channel_binding=require`, `${at}?sslmode=require`],
  ['Supabase', `${at}?pgbouncer=true`, at],
  ['RDS', `${at}?sslmode=verify-full&connect_timeout=10`, `${at}?sslmode=verify-full`],
  ['an application name', `${at}?application_name=my%20app`, `${at}?application_name=my+app`],
  ['a CA', `${at}?sslmode=verify-ca&sslrootcert=/dev/null`, `${at}?sslmode=verify-ca&sslrootcert=%2Fdev%2Fnull`],
  ['an encoded password', 'postgres://u:p%40%2F%25@h/app', 'postgres://u:p%40%2F%25@h/app'],
  ['an unencoded @', 'postgres://u:p@p@h/app', 'postgres://u:p%40p@h/app'],
  ['IPv6', 'postgresql://u:p@[::1]:6432/app', 'postgresql://u:p@[::1]:6432/app'],
  ['a socket', 'postgres://u:p@/app?host=/tmp', 'postgres://u:p@localhost/app?host=%2Ftmp'],
  ['an encoded socket', 'postgres://u:p@%2Ftmp/app', 'postgres://u:p@%2Ftmp/app'],
])('accepts the form with %s', (_, given, expected) => {
  expect(read(given)).toBe(expected)
})

describe('rejects what no connection would accept', () => {
  it.each([
    [`${at}?connection_limit=1`, `has the unsupported parameter connection_limit. Remove it. ${supported}`],
    [`${at}?options=-c%20jit%3Doff`, `has the unsupported parameter options. Remove it. ${supported}`],
    [`${at}?schema=public`, `has the unsupported parameter schema. Remove it. ${supported}`],
    [
      `${at}?sslmode=no`,
      'has an invalid sslmode. Use sslmode=disable or prefer or require or verify-ca or verify-full',
    ],
    [`${at}?sslmode=verify-ca`, 'has sslmode=verify-ca without sslrootcert. Add it, or use sslmode=verify-full'],
    [`${at}?sslrootcert=/no/file`, 'has an invalid sslrootcert. It must be the path of a readable file'],
    [`${at}?connect_timeout=soon`, 'has an invalid connect_timeout. Use connect_timeout=NUMBER'],
    ['postgres://u:secret/x@h/app', unescaped],
    ['postgres://u:1/secret@h/app', unescaped],
    ['postgres://u:1?secret=x@h/app', unescaped],
    ['postgres://u:1#secret@h/app', unescaped],
    ['postgres://u:50%secret@h/app', unescaped],
    ['postgres://u:p@a:1,b:2/app', 'must be a URL like postgres://user:password@host:6432/database'],
    ['host=a dbname=secret', 'must be a URL like postgres://user:password@host:6432/database'],
  ])('%s', (given, message) => {
    expect(() => read(given)).toThrow(new ConfigError([`DATABASE_URL ${message}`]))
    expect(message).not.toContain('secret')
  })
})
