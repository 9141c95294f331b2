import { type ChildProcess, spawn } from 'node:child_process'
import { globSync, readdirSync, watch } from 'node:fs'
import { join } from 'node:path'

// watch.ts PROGRAM: runs the program and restarts it when a source file changes. `node --watch` watches files instead
// of folders, so it loses a file that an editor saves by replacing it.

const root = join(import.meta.dirname, '../..')
const [program = ''] = process.argv.slice(2)
const settleMs = 100 // editors and git write several files, some of them twice
let child: ChildProcess | undefined
let timer: NodeJS.Timeout | undefined
let isStopping = false

function start(): void {
  const started = spawn(process.execPath, [program], { stdio: 'inherit' })
  child = started
  started.once('exit', (code) => {
    child = undefined
    if (isStopping) process.exit(code ?? 1)
    if (code) console.log('waiting for changes')
  })
}

function restart(): void {
  if (isStopping) return
  console.log('source changed, restarting')
  if (child) child.once('exit', start).kill('SIGTERM')
  else start()
}

/**
 * Returns all source folders. Node's recursive watch also loses replaced files on Linux, so each folder is watched
 * separately.
 */
function listFolders(): string[] {
  const sources = globSync('{apps,packages}/*/src', { cwd: root }).map((name) => join(root, name))
  const inside = sources.flatMap((source) =>
    readdirSync(source, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name)),
  )
  return [...sources, ...inside]
}

for (const folder of listFolders()) {
  watch(folder, (_event, name) => {
    if (!name?.endsWith('.ts') || name.endsWith('.test.ts')) return
    clearTimeout(timer)
    timer = setTimeout(restart, settleMs)
  })
}
process.on('SIGTERM', () => {
  isStopping = true
  if (!child) process.exit(0)
  child.kill('SIGTERM')
})
start()
