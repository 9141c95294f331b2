import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

// npm run build -w @repo/prove: writes the package `prove-streams` to dist/, ready for `npm publish ./dist`. It is one
// file without dependencies, so that npx starts it at once.

const root = import.meta.dirname
const dist = join(root, 'dist')
rmSync(dist, { recursive: true, force: true })
await build({
  entryPoints: [join(root, 'src/prove.ts')],
  outfile: join(dist, 'prove-streams.mjs'),
  ...{ bundle: true, platform: 'node', format: 'esm', target: 'node22' },
})
const { version, description }: Record<string, string> = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const published = {
  ...{ name: 'prove-streams', version, description, license: 'MIT', type: 'module' },
  engines: { node: '>=22' },
  bin: { 'prove-streams': './prove-streams.mjs' },
  keywords: ['postgres', 'connection', 'pool', 'transaction', 'streaming', 'llm'],
}
writeFileSync(join(dist, 'package.json'), `${JSON.stringify(published, null, 2)}\n`)
copyFileSync(join(root, 'README.md'), join(dist, 'README.md'))
copyFileSync(join(root, '../../LICENSE'), join(dist, 'LICENSE'))
