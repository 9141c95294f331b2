import { createKey, createKeyring, createStore, type Db, type KeyScope, keyScopes } from '@repo/db'
import { type Arguments, type Command, isName } from './arguments.ts'
import { inDatabase } from './in-database.ts'
import { formatTime, parseDuration, parseExpiry } from './times.ts'

export const keyCommands: Command[] = [
  {
    name: 'create-key',
    args: '--owner NAME',
    options: ['owner', 'expires', 'scopes', 'organization', 'librarian', 'tokens-per-day'],
    what: 'create an API key for NAME and print it (--expires 90d or a date, --scopes read,chat,documents: what it may do, --organization NAME: make NAME a member, --librarian: may share documents, --tokens-per-day N: limit its use)',
    run: inDatabase(printNewKey),
  },
  {
    name: 'list-keys',
    args: '',
    what: 'list all keys with their ID, owner, last use, expiry, scopes and budget',
    run: inDatabase(listKeys),
  },
  {
    name: 'rotate-key',
    args: 'ID',
    options: ['overlap'],
    what: 'create a key with the settings of another and print it; the old one works for 24 hours more (--overlap 2h: for so long)',
    run: inDatabase(rotateKey),
  },
  {
    name: 'revoke-key',
    args: 'ID',
    what: 'revoke a key for good; the ID is part of the key: sl_ID_…',
    run: inDatabase(revokeKey),
  },
]

async function printNewKey(db: Db, { owner, organization, librarian, ...given }: Arguments) {
  if (!isName(owner) || !(organization === undefined || isName(organization))) return undefined
  const key = await createKey(createStore(db), owner, {
    organization,
    isLibrarian: librarian === true,
    tokensPerDay: readTokens(given['tokens-per-day']),
    scopes: readScopes(given.scopes),
    expiresAt: given.expires === undefined ? undefined : parseExpiry(toText(given.expires)),
  })
  console.log(key)
  return 0
}

/** An option that lacks its value is `true`. */
const toText = (value: string | boolean) => (typeof value === 'string' ? value : '')

function readTokens(value: string | boolean = '0'): number {
  const text = toText(value)
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text)
  throw new Error(`Invalid number of tokens "${text}". Use a whole number like 100000.`)
}

function readScopes(value: string | boolean | undefined): KeyScope[] | undefined {
  if (value === undefined) return undefined
  const names = toText(value)
    .split(',')
    .map((name) => name.trim())
  const unknown = names.find((name) => !keyScopes.some((scope) => scope === name))
  if (unknown === undefined) return keyScopes.filter((scope) => names.includes(scope))
  throw new Error(`Unknown scope "${unknown}". Use some of ${keyScopes.join(', ')}, separated by commas.`)
}

async function listKeys(db: Db) {
  const widths = [16, 20, 20, 20, 20, 19] // an ID, four times, and the names of all scopes
  const toLine = (...cells: string[]) => cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')
  console.log(toLine('id', 'created', 'last used', 'expires', 'revoked', 'scopes', 'owner'))
  for (const { id, owner, scopes, tokensPerDay, ...times } of await createKeyring(db).list()) {
    const columns = [times.createdAt, times.lastUsedAt, times.expiresAt, times.revokedAt].map(formatTime)
    const budget = tokensPerDay === null ? '' : `  (${tokensPerDay} tokens per day)`
    console.log(toLine(id, ...columns, scopes?.join() ?? 'all', owner + budget))
  }
  return 0
}

async function rotateKey(db: Db, { operands: [id = ''], overlap = '24h' }: Arguments) {
  const overlapMs = parseDuration(toText(overlap))
  if (overlapMs === undefined) throw new Error(`Invalid overlap "${toText(overlap)}". Use a duration like 24h or 7d.`)
  const { key, owner, expiresAt } = await createKeyring(db).rotate(id, overlapMs)
  console.log(key)
  console.error(`Key ${id} (owner ${owner}) expires at ${formatTime(expiresAt)}.`)
  return 0
}

async function revokeKey(db: Db, { operands: [id = ''] }: Arguments) {
  const key = await createKeyring(db).revoke(id)
  if (key) console.log(`Key ${id} (owner ${key.owner}) was revoked at ${formatTime(key.revokedAt)}.`)
  else console.error(`No key has the ID ${id}. \`npm run manage -- list-keys\` lists all keys.`)
  return key ? 0 : 1
}
