import { spawnSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

// npm run rename -- "NAME": run once, after cloning or `npx degit`. Replaces the template's name in every file that git
// tracks or would track.

const root = join(import.meta.dirname, '../..')
const hasGit = existsSync(join(root, '.git'))
const usage = 'npm run rename -- "Acme Chat": at most 40 letters A to Z and digits, parted by single spaces or hyphens'
/** License and changelog remain true after a rename. Tests of the offline model quote texts about the template. */
const kept = ['LICENSE', 'CHANGELOG.md', 'packages/offline/', 'infra/template/rename']
/** Names that Postgres rejects for a role or database: `pg_get_keywords()`, categories R and T, and existing names. */
const reserved = `
  all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
  column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
  current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze
  from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
  localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
  returning right select session_user similar some symmetric system_user table tablesample then to trailing true union
  unique user using variadic verbose when where window with
  none postgres public stats template0 template1`.split(/\s+/)

/** `name` is the display name. With underscores it names a package, a role, a database and a Compose project. */
function rename(name: string): string {
  const identifier = name.replaceAll(/[ -]/g, '_').toLowerCase()
  if (!/^[A-Za-z][A-Za-z0-9]*([ -][A-Za-z0-9]+)*$/.test(name) || name.length > 40) throw new Error(usage)
  if (reserved.includes(identifier) || identifier.startsWith('pg_'))
    throw new Error(`${name} will not do: ${identifier} is a word that Postgres keeps for itself`)
  const current: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).name
  if (current !== 'sluice') throw new Error(`The project has a name already: ${current}`)
  if (hasGit && run('git', 'status', '--porcelain', '--untracked-files=no') !== '')
    throw new Error('There are uncommitted changes: commit them first, then `git checkout .` undoes a rename')

  const files = listFiles().filter((file) => !kept.some((path) => file.startsWith(path)))
  const words = { Sluice: name, sluice: identifier, SLUICE: identifier.toUpperCase() }
  for (const file of files) replaceWords(join(root, file), words)
  run('npm', 'exec', '--', 'biome', 'format', '--write') // line lengths have changed
  return `This is ${name} now, ${identifier} where spaces may not be. ${kept.join(', ')} still say Sluice.
${hasGit ? '`git diff` shows what changed, `git checkout .` undoes it. ' : ''}\`npm test\` shows whether everything works.
${describeLeftovers().join('\n')}`
}

/** Without a repository, as after `npx degit`, lists what .gitignore does not name. */
function listFiles(): string[] {
  if (hasGit) return run('git', 'ls-files', '-z').split('\0').filter(Boolean)
  return walk('')
}

const ignored = ['node_modules', 'dist', '.data', '.turbo', '.env', 'client']

/** Returns the files below a folder, without ignored ones. */
function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter(({ name }) => !ignored.includes(name))
    .flatMap((entry) => (entry.isDirectory() ? walk(join(folder, entry.name)) : join(folder, entry.name)))
}

function replaceWords(file: string, words: Record<string, string>): void {
  if (!lstatSync(file).isFile()) return
  const bytes = readFileSync(file)
  if (bytes.includes(0)) return // an image, not a text
  const text = bytes.toString()
  const renamed = Object.entries(words).reduce((result, [old, word]) => result.replaceAll(old, word), text)
  if (renamed !== text) writeFileSync(file, renamed)
}

/** Describes what git does not track and was therefore left unchanged. */
function describeLeftovers(): string[] {
  const has = (path: string) => existsSync(join(root, path))
  return [
    has('.data/stack') &&
      'The database in .data/stack has the old name: stop `npm start` and remove the folder to start again.',
    has('.env') && 'Your .env was left alone: look whether it holds the old name.',
    'Containers and data of the old name, if you made any, go with `docker compose --project-name sluice down --volumes`.',
  ].filter((line) => line !== false)
}

function run(file: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(file, args, { cwd: root, encoding: 'utf8', maxBuffer: 1e8 })
  if (status !== 0) throw new Error(`${stdout}${stderr}${[file, ...args].join(' ')} failed (see above)`)
  return stdout
}

try {
  console.log(rename(process.argv.slice(2).join(' ')))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exit(1)
}
