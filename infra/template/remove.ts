import { spawnSync } from 'node:child_process'
import { existsSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { cutBlock } from './cut-block.ts'
import { loadParts } from './load-parts.ts'

// npm run remove -- NAME…: removes optional parts with their tests, dependencies, settings and docs.

const root = join(import.meta.dirname, '../..')
const parts = await loadParts()
const usage = `npm run remove -- NAME…
${Object.entries(parts)
  .map(([name, { description }]) => `  ${name.padEnd(8)} ${description}`)
  .join('\n')}`

/** Removes the named parts and returns a report. Throws before it changes anything if it cannot start. */
function remove(given: string[]): string {
  const names = Object.keys(parts).filter((name) => given.includes(name))
  if (given.length === 0 || given.some((name) => !Object.hasOwn(parts, name))) throw new Error(usage)
  if (!existsSync(join(root, '.git')))
    throw new Error(
      'There is no git repository. Run `git init && git add --all && git commit -m Start` first, so that you can see and undo the changes.',
    )
  if (run('git', 'status', '--porcelain') !== '')
    throw new Error('There are uncommitted changes. Commit them first, so that `git checkout .` undoes the removal.')

  const removed = names.flatMap((name) => parts[name]?.packages ?? [])
  const missing = names.flatMap(removePart)
  for (const name of new Set(removed)) removeUnneeded(name)
  // The edits leave imports, exports and packages that nothing uses, and lines of another length.
  run('biome', 'lint', '--write', '--unsafe', '--only=correctness/noUnusedImports')
  run('knip', '--fix', '--fix-type', 'exports,types,dependencies', '--no-exit-code')
  run('npm', 'install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund')
  run('biome', 'check', '--write', '--linter-enabled=false')
  unlinkDeleted()
  return report(names, missing)
}

/** Deletes the files of a part and its mentions elsewhere. Returns the mentions that it did not find. */
function removePart(name: string): string[] {
  const { files = [], edits = {}, scripts = [], dependencies = {} } = parts[name] ?? {}
  for (const file of globSync(files, { cwd: root })) rmSync(join(root, file), { recursive: true })
  removeKeys('package.json', scripts)
  for (const [workspace, packages] of Object.entries(dependencies)) removeKeys(`${workspace}/package.json`, packages)
  rmSync(join(root, `infra/template/parts/${name}.ts`))
  const own = { 'docs/extending.md': [`| \`${name}\` `] }
  return [...Object.entries(edits), ...Object.entries(own)].flatMap(([file, changes]) => editText(file, changes))
}

/** Deletes a package if no workspace needs it any longer. */
function removeUnneeded(name: string): void {
  const files = globSync('{apps,packages}/*/package.json', { cwd: root })
  if (files.some((file) => readFileSync(join(root, file), 'utf8').includes(`"@repo/${name}": `))) return
  rmSync(join(root, `packages/${name}`), { recursive: true })
  editText('infra/api/Dockerfile', [`COPY packages/${name}/`])
  editText('README.md', [`${name}/ `])
}

/** Removes scripts or packages from a package.json. */
function removeKeys(file: string, keys: string[]): void {
  const path = join(root, file)
  if (!existsSync(path)) return // another part had it
  const content = JSON.parse(readFileSync(path, 'utf8'))
  for (const list of [content.scripts, content.dependencies, content.devDependencies])
    for (const key of keys) delete list?.[key]
  writeFileSync(path, `${JSON.stringify(content, null, 2)}\n`)
}

/** Applies the edits of one file. Returns those whose text the file does not have. */
function editText(file: string, changes: (string | [from: string, to: string])[]): string[] {
  const path = join(root, file)
  if (!existsSync(path)) return []
  let text = readFileSync(path, 'utf8')
  const missing: string[] = []
  for (const change of changes) {
    const edited =
      typeof change === 'string' ? cutBlock(file, text, change) : text.replaceAll(change[0], () => change[1])
    if (edited === text) missing.push(`${file}: ${typeof change === 'string' ? change : change[0]}`)
    text = edited
  }
  writeFileSync(path, text)
  return missing
}

/** Turns links to files that no longer exist into plain text. */
function unlinkDeleted(): void {
  for (const file of globSync('**/*.md', { cwd: root, exclude: ['**/node_modules/**'] })) {
    const path = join(root, file)
    const text = readFileSync(path, 'utf8')
    const edited = text.replace(/\[([^\]]+)\]\((?!\w+:|#)([^)#]+)[^)]*\)/g, (link, words, target) =>
      existsSync(join(dirname(path), target)) ? link : words,
    )
    if (edited !== text) writeFileSync(path, edited)
  }
}

function report(names: string[], missing: string[]): string {
  const summary = run('git', 'diff', '--shortstat', 'HEAD').trim()
  const notFound =
    missing.length > 0
      ? `These lines were not found. If they still exist, remove them by hand:\n  ${missing.join('\n  ')}\n`
      : ''
  return `Removed ${names.join(', ')}: ${summary}.
${notFound}Next: \`npm install && npm run check && npm test\`. \`git diff\` shows every change, \`git checkout .\` undoes them.`
}

function run(file: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(file, args, { cwd: root, encoding: 'utf8', maxBuffer: 1e8 })
  if (status !== 0)
    throw new Error(
      `${stdout}${stderr}${[file, ...args].join(' ')} failed (see above). \`git checkout .\` undoes what was changed.`,
    )
  return stdout
}

try {
  console.log(remove(process.argv.slice(2)))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exit(1)
}
