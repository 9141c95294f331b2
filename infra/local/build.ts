import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { type BuildFailure, build, type Plugin, stop } from 'esbuild'

// npm run build: bundles each program into one file. Loading their 860 files one by one takes Node a second of CPU and
// 50 MB more.

const root = join(import.meta.dirname, '../..')

/** The programs of each app, which become dist/NAME.js. */
const programs: Record<string, string[]> = {
  'apps/api': ['server'],
  'apps/worker': ['worker'],
  'apps/cli': ['manage', 'migrate', 'seed'],
}

/** Bundles each program. Throws with file, line and problem for code that cannot be bundled. */
export async function buildPrograms(): Promise<void> {
  await Promise.all(Object.entries(programs).map(([app, names]) => bundle(join(root, app), names)))
    .catch(explain)
    .finally(stop) // esbuild's process would run as long as this one
}

function explain(error: Error | BuildFailure): never {
  if (!('errors' in error)) throw error
  const lines = error.errors.map(({ location, text }) =>
    location ? `${location.file}:${location.line}: ${text}` : text,
  )
  throw new Error(lines.join('\n'))
}

async function bundle(app: string, names: string[]): Promise<void> {
  const outdir = join(app, 'dist')
  const { outputFiles } = await build({
    entryPoints: names.map((name) => join(app, `src/${name}.ts`)),
    outdir,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    sourcemap: true,
    sourcesContent: false,
    minifyWhitespace: true, // a third less to read and compile at each start; names stay, for profiles and error classes
    banner: { js: banner },
    plugins: [skipTests, keepLocations(outdir)],
    absWorkingDir: root,
    logLevel: 'silent', // the error contains everything
    write: false,
  })
  mkdirSync(outdir, { recursive: true })
  for (const { path, contents } of outputFiles) {
    // Another program may start while its file is replaced.
    writeFileSync(`${path}.${process.pid}`, contents)
    renameSync(`${path}.${process.pid}`, path)
  }
}

/** Starts each bundle. CommonJS packages call `require`, which modules do not have. */
const banner = `import { createRequire as createRequireInBundle } from 'node:module'
const require = createRequireInBundle(import.meta.url)
const bundleUrl = import.meta.url`

/** The files of routes/ and jobs/ are imported by name, which would include their tests. */
const skipTests: Plugin = {
  name: 'skip-tests',
  setup: ({ onLoad }) => onLoad({ filter: /\.test\.ts$/ }, () => ({ contents: '' })),
}

/** Files that read others beside them must still find them: `import.meta.url` and `__dirname` stay those of the source. */
const keepLocations = (outdir: string): Plugin => ({
  name: 'keep-locations',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.(?:ts|js|mjs|cjs)$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8')
      if (!/\bimport\.meta\.(?:url|dirname)\b|\b__dirname\b/.test(source)) return undefined
      if (/\bimport\.meta\.filename\b|\b__filename\b|const __dirname\b/.test(source))
        return { errors: [{ text: unsupported }] }
      const locate = (to: string) => `new URL(${JSON.stringify(relative(outdir, to))}, bundleUrl)`
      const folder = `decodeURIComponent(${locate(dirname(path))}.pathname)`
      const contents = source
        .replaceAll(/\bimport\.meta\.url\b/g, `${locate(path)}.href`)
        .replaceAll(/\bimport\.meta\.dirname\b|\b__dirname\b/g, folder)
      return { contents, loader: path.endsWith('.ts') ? 'ts' : 'js' }
    }),
})

const unsupported = 'In a bundle, find files with `new URL(NAME, import.meta.url)`.'

if (import.meta.main) {
  await buildPrograms().catch(({ message }) => {
    console.error(message)
    process.exit(1)
  })
}
