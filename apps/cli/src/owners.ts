import { createInterface } from 'node:readline/promises'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createOwnerAdmin, createStore, type Db } from '@repo/db'
import { type Arguments, type Command, isName } from './arguments.ts'
import { inDatabase } from './in-database.ts'

export const ownerCommands: Command[] = [
  {
    name: 'list-owners',
    args: '',
    what: 'list all owners and organizations with what they have',
    run: inDatabase(printOwners),
  },
  {
    name: 'join',
    args: '--owner NAME',
    options: ['owner', 'organization'],
    what: 'make NAME a member of --organization NAME, and of no other',
    run: inDatabase(joinOrganization),
  },
  {
    name: 'leave',
    args: '--owner NAME',
    options: ['owner'],
    what: 'end the membership of NAME',
    run: inDatabase(leaveOrganization),
  },
  {
    name: 'delete-owner',
    args: 'NAME',
    options: ['yes'],
    what: 'delete everything NAME has (--yes: without asking)',
    run: inDatabase(removeOwner),
  },
  {
    name: 'export-owner',
    args: 'NAME',
    what: 'print everything NAME has as JSON lines',
    run: inDatabase(printOwner),
  },
]

async function printOwners(db: Db) {
  console.log(await listOwners(db))
  return 0
}

async function joinOrganization(db: Db, { owner, organization }: Arguments) {
  if (!isName(owner) || !isName(organization)) return undefined
  console.log(await changeMembership(db, owner, organization))
  return 0
}

async function leaveOrganization(db: Db, { owner }: Arguments) {
  if (!isName(owner)) return undefined
  console.log(await changeMembership(db, owner))
  return 0
}

async function removeOwner(db: Db, { operands: [name = ''], yes }: Arguments) {
  const done = await deleteOwner(db, name, yes === true)
  if (done) console.log(done)
  else console.error('Nothing was deleted.')
  return done ? 0 : 1
}

async function printOwner(db: Db, { operands: [name = ''] }: Arguments) {
  await exportOwner(db, name, process.stdout)
  return 0
}

/** Returns a table of owners, organizations included. */
async function listOwners(db: Db): Promise<string> {
  const toLine = (...cells: unknown[]) => cells.map((cell) => String(cell ?? '-').padEnd(13)).join(' ')
  const owners = await createOwnerAdmin(db).list()
  const lines = owners.map(({ name, organization, keys, documents, conversations }) => {
    return `${toLine(documents, conversations, keys, organization)} ${name}`
  })
  return [`${toLine('documents', 'conversations', 'keys', 'organization')} owner`, ...lines].join('\n')
}

/** Makes an owner a member of an organization, or of none. Returns what was done. Throws if the owner is unknown. */
async function changeMembership(db: Db, name: string, organization?: string): Promise<string> {
  const { id } = await findOwner(db, name)
  const { owners } = createStore(db)
  await (organization ? owners.join(id, organization) : owners.leave(id))
  return `${name} belongs to ${organization ?? 'no organization'} now.`
}

/**
 * Deletes an owner with everything the owner has, after the user has typed the name. `isConfirmed`: asks nothing. Returns
 * what was deleted, or undefined. Throws if the owner is unknown.
 */
async function deleteOwner(db: Db, name: string, isConfirmed: boolean): Promise<string | undefined> {
  const { id, keys, documents, conversations } = await findOwner(db, name)
  const what = `${documents} documents, ${conversations} conversations and ${keys} keys of ${name}`
  if (!isConfirmed && (await askName(what)) !== name) return undefined
  await createStore(db).owners.remove(id)
  return `Deleted ${what}.`
}

async function askName(what: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const closed = new Promise<string>((resolve) => terminal.once('close', () => resolve('')))
  const answer = terminal.question(`This deletes ${what}. Type the name to go on: `)
  const typed = await Promise.race([answer, closed]) // without an input, as in a script, it is closed at once
  terminal.close()
  return typed
}

/** Writes everything that an owner has as lines of JSON. Throws if the owner is unknown. */
async function exportOwner(db: Db, name: string, output: Writable): Promise<void> {
  const { id } = await findOwner(db, name)
  async function* toLines() {
    for await (const row of createOwnerAdmin(db).export(id)) yield `${JSON.stringify(row)}\n`
  }
  await pipeline(Readable.from(toLines()), output, { end: false }).catch((error) => {
    if (error.code !== 'EPIPE') throw error
  })
}

async function findOwner(db: Db, name: string) {
  const owner = await createOwnerAdmin(db).find(name)
  if (!owner) throw new Error(`No owner has the name ${name}. \`npm run manage -- list-owners\` lists them.`)
  return owner
}
