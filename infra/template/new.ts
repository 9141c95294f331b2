import { spawnSync } from 'node:child_process'
import { existsSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nameResource, writeRoute, writeTable, writeTest } from './resource.ts'
import { nameTool, writeTool, writeToolTest } from './tool.ts'

// npm run new -- PLURAL [SINGULAR]: writes a table, its migration, a route and its test. All or nothing.
// npm run new -- tool NAME: writes a tool and its test.

const root = join(import.meta.dirname, '../..')
const schemaFile = 'packages/db/src/schema.ts'
/** Names used by a plugin or by every route file. */
const reserved = ['docs', 'routes']

function createResource(plural: string, singular: string | undefined): string {
  const files = [schemaFile, `apps/api/src/routes/${plural}.ts`, `apps/api/src/routes/${plural}.test.ts`] as const
  const [, route, test] = files
  if (reserved.includes(plural)) throw new Error(`${plural} is reserved. Choose another name.`)
  if (existsSync(join(root, route))) throw new Error(`${route} exists. Choose another name, or remove it first.`)
  const resource = nameResource(plural, singular)
  const { constant, table } = resource
  const schema = read(schemaFile)
  if (new RegExp(`const ${constant}\\b|pgTable\\(\\s*'${table}'`).test(schema))
    throw new Error(`${schemaFile} already contains ${constant}. Choose another name.`)
  try {
    write(schemaFile, schema + writeTable(resource))
    write(route, writeRoute(resource).trimStart())
    write(test, writeTest(resource).trimStart())
    npmRun('fix', ...files)
    const output = npmRun('db:generate', `--name=${table}`)
    if (!findMigration(table))
      throw new Error(`${output}npm run db:generate created no migration, so nothing was written.`)
  } catch (error) {
    write(schemaFile, schema)
    for (const file of [route, test]) rmSync(join(root, file), { force: true })
    throw error
  }
  return `${schemaFile}: the table ${table}
${findMigration(table)}: its migration
${route}: served at /${plural}, described at /docs
${test}: run it with \`npm test -- routes/${plural}\`

Give the table the columns that it needs, then \`npm run db:generate\`. \`npm start\` and \`npm run db:migrate\` apply it.`
}

function createTool(name: string | undefined): string {
  if (!name) throw new Error('Pass a name: npm run new -- tool find-orders')
  const tool = nameTool(name)
  const files = [`apps/api/src/tools/${name}.ts`, `apps/api/src/tools/${name}.test.ts`] as const
  const [file, test] = files
  if (existsSync(join(root, file))) throw new Error(`${file} exists. Choose another name, or remove it first.`)
  try {
    write(file, writeTool().trimStart())
    write(test, writeToolTest(tool).trimStart())
    npmRun('fix', ...files)
  } catch (error) {
    for (const path of files) rmSync(join(root, path), { force: true })
    throw error
  }
  return `${file}: the model may call it as ${tool}, and /docs lists it
${test}: run it with \`npm test -- tools/${name}\`

Write what the tool does: its description for the model, its input and its handler. apps/api/src/tools/README.md explains them.`
}

function findMigration(table: string): string | undefined {
  return globSync(`packages/db/migrations/????_${table}.sql`, { cwd: root }).sort().at(-1)
}

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

function write(file: string, text: string): void {
  writeFileSync(join(root, file), text)
}

/** Returns the script's output. Throws it if the script fails. */
function npmRun(script: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', script, '--', ...args], { cwd: root })
  const output = `${stdout}${stderr}`
  if (status !== 0) throw new Error(`${output}npm run ${script} failed, so nothing was written.`)
  return output
}

const [plural, singular] = process.argv.slice(2)
try {
  if (!plural) throw new Error('Pass a plural name: npm run new -- meeting-notes')
  console.log(plural === 'tool' ? createTool(singular) : createResource(plural, singular))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exit(1)
}
