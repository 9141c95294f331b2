import { execFileSync } from 'node:child_process'
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

// npm run build -w connection-guard: writes the package to dist/, ready for `npm publish ./dist`.

const root = import.meta.dirname
const dist = join(root, 'dist')
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')

rmSync(dist, { recursive: true, force: true })
execFileSync(process.execPath, [tsc, '--project', join(root, 'tsconfig.build.json')], { stdio: 'inherit' })
const { name, version, description, type }: Record<string, string> = JSON.parse(
  readFileSync(join(root, 'package.json'), 'utf8'),
)
const published = {
  ...{ name, version, description, type, license: 'MIT', sideEffects: false },
  engines: { node: '>=22.12' }, // the first version with the channel `http.client.request.created`
  exports: { '.': { types: './index.d.ts', default: './index.js' } },
  keywords: ['postgres', 'pg', 'drizzle', 'connection', 'pool', 'transaction', 'llm'],
}
writeFileSync(join(dist, 'package.json'), `${JSON.stringify(published, null, 2)}\n`)
copyFileSync(join(root, 'README.md'), join(dist, 'README.md'))
copyFileSync(join(root, '../../LICENSE'), join(dist, 'LICENSE'))
