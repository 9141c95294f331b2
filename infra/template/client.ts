import { existsSync, readdirSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { join } from 'node:path'

// npm run client [-- URL [FOLDER]]: generates a typed client from the description of a running API.

// The generator needs the compiler's JavaScript API, which TypeScript 7 does not have yet.
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'typescript' ? next(import.meta.resolve('typescript-6'), context) : next(specifier, context),
})

async function main([url = 'http://localhost:3000', folder = 'client']: string[]): Promise<void> {
  const input = `${url.replace(/\/$/, '')}/openapi.json`
  const response = await fetch(input).catch(() => undefined)
  if (!response?.ok)
    throw new Error(`No API answers at ${url}. Run \`npm start\`, or name another one: npm run client -- URL`)
  // The generator empties its folder first.
  if (existsSync(folder) && readdirSync(folder).length > 0 && !existsSync(join(folder, 'client.gen.ts')))
    throw new Error(
      `${folder} contains other files, which would be deleted. Name a new folder: npm run client -- URL FOLDER`,
    )
  const { createClient } = await import('@hey-api/openapi-ts')
  const output = { path: folder, importFileExtension: '.ts' as const }
  await createClient({ input, output, logs: { level: 'silent', file: false } })
  console.log(`${folder}/ contains a typed client. Import its functions from ${folder}/index.ts.`)
}

main(process.argv.slice(2)).then(
  () => process.exit(0), // the API keeps the connection open
  ({ message }) => {
    console.error(message)
    process.exit(1)
  },
)
