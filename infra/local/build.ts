import {
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { type BuildFailure, build, type OutputFile, type Plugin, stop } from 'esbuild'
import { listLicences } from './licences.ts'

// npm run build: bundles each program into one file. Loading their 860 files one by one takes Node a second of CPU and
// 50 MB more.

const root = join(import.meta.dirname, '../..')

/** The programs and threads of each workspace, by their files in src/. They become dist/NAME.js. */
const programs: Record<string, string[]> = {
  'apps/api': ['server', 'plugins/large-json-worker'],
  'apps/worker': ['worker'],
  'apps/cli': ['manage', 'migrate', 'seed'],
  'packages/extract': ['child'],
}

/** A child process that reads one file loads a part of its bundle, which takes 0.1 s less CPU. */
const inParts = new Set(['packages/extract'])

const bundles = new Map(
  Object.entries(programs).flatMap(([folder, names]) =>
    names.map((name) => [join(root, folder, 'src', `${name}.ts`), join(root, folder, 'dist', `${basename(name)}.js`)]),
  ),
)

/** What the bundles are made of. Installing packages changes npm's own lock file. */
const sources = [
  '{apps,packages}/*/{package.json,patches/*,src,src/**}',
  'infra/local/{build,licences}.ts',
  'node_modules/.package-lock.json',
]

/**
 * Bundles each program, unless nothing has changed since the last time. Throws with file, line and problem for code that
 * cannot be bundled.
 */
export async function buildPrograms(): Promise<void> {
  if (isBuilt()) return
  const startedAt = new Date(Date.now() - clockStepMs)
  await Promise.all(Object.entries(programs).map(([folder, names]) => bundle(folder, names, startedAt)))
    .catch(explain)
    .finally(stop) // esbuild's process would run as long as this one
}

const clockStepMs = 10 // file systems round times down to the kernel's last tick, at most this long ago

/**
 * Returns whether all bundles were begun after the last change of a source, by the change time, which copying and
 * unpacking cannot set. Deleting a file changes its folder.
 */
function isBuilt(): boolean {
  const changes = globSync(sources, { cwd: root }).map((name) => statSync(join(root, name)).ctimeMs)
  const lastChange = changes.reduce((last, change) => Math.max(last, change), 0)
  return [...bundles.values()].every((file) => {
    const built = statSync(file, { throwIfNoEntry: false })
    return built !== undefined && built.mtimeMs > lastChange
  })
}

function explain(error: Error | BuildFailure): never {
  if (!('errors' in error)) throw error
  const lines = error.errors.map(({ location, text }) =>
    location ? `${location.file}:${location.line}: ${text}` : text,
  )
  throw new Error(lines.join('\n'))
}

async function bundle(folder: string, names: string[], startedAt: Date): Promise<void> {
  const outdir = join(root, folder, 'dist')
  const { outputFiles, metafile } = await build({
    entryPoints: names.map((name) => join(root, folder, 'src', `${name}.ts`)),
    entryNames: '[name]',
    outdir,
    bundle: true,
    splitting: inParts.has(folder),
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
    metafile: true,
    write: false,
  })
  const licences = { path: join(outdir, 'LICENCES.txt'), contents: listLicences(root, Object.keys(metafile.inputs)) }
  replaceFiles(outdir, [...outputFiles, licences], startedAt)
}

/** Replaces the content of a folder. A program may start meanwhile, so each file is replaced as a whole. */
function replaceFiles(outdir: string, files: Pick<OutputFile, 'path' | 'contents'>[], startedAt: Date): void {
  mkdirSync(outdir, { recursive: true })
  for (const { path, contents } of files) {
    writeFileSync(`${path}.${process.pid}`, contents)
    utimesSync(`${path}.${process.pid}`, startedAt, startedAt) // a change during the build must not be missed
  }
  for (const { path } of files) renameSync(`${path}.${process.pid}`, path)
  const names = new Set(files.map(({ path }) => basename(path)))
  const old = globSync('*.{js,js.map}', { cwd: outdir }).filter((name) => !names.has(name)) // parts of the last build
  for (const name of old) rmSync(join(outdir, name))
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

/**
 * Files that read others beside them must still find them: `import.meta.url` and `__dirname` stay those of the source.
 * Threads and child processes are bundled too, and folders are listed now, because the image contains no sources.
 */
const keepLocations = (outdir: string): Plugin => ({
  name: 'keep-locations',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.(?:ts|js|mjs|cjs)$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8')
      if (!/\bimport\.meta\.(?:url|dirname)\b|\b__dirname\b/.test(source)) return undefined
      if (/\bimport\.meta\.filename\b|\b__filename\b|const __dirname\b/.test(source))
        return { errors: [{ text: unsupported }] }
      const beside = (name: string) => join(dirname(path), name)
      const missing = [...source.matchAll(program)].find(([, name = '']) => !bundles.has(beside(name)))
      if (missing)
        return { errors: [{ text: `${missing[1]} is not bundled. Add it to \`programs\` in infra/local/build.ts.` }] }
      const locate = (to: string) => `new URL(${JSON.stringify(relative(outdir, to))}, bundleUrl)`
      const folder = `decodeURIComponent(${locate(dirname(path))}.pathname)`
      const contents = source
        .replaceAll(folderList, (_, name) => JSON.stringify(readdirSync(beside(name))))
        .replaceAll(program, (_, name) => locate(bundles.get(beside(name)) ?? ''))
        .replaceAll(/\bimport\.meta\.url\b/g, `${locate(path)}.href`)
        .replaceAll(/\bimport\.meta\.dirname\b|\b__dirname\b/g, folder)
      return { contents, loader: path.endsWith('.ts') ? 'ts' : 'js' }
    }),
})

const folderList = /\breaddirSync\(new URL\('(\.\/[\w/-]+\/)', import\.meta\.url\)\)/g
const program = /\bnew URL\('(\.\/[\w/-]+\.ts)', import\.meta\.url\)/g

const unsupported = 'In a bundle, find files with `new URL(NAME, import.meta.url)`.'

if (import.meta.main) {
  await buildPrograms().catch(({ message }) => {
    console.error(message)
    process.exit(1)
  })
}
