// The entry point of `npm start`, `npm run dev` and `npm test`. It must run on any Node from version 18, without npm
// packages.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const [command, ...args] = process.argv.slice(2)
const script = command === 'dev' ? ['start', '--watch'] : [command]
process.chdir(fileURLToPath(new URL('../..', import.meta.url)))
process.env.NODE_COMPILE_CACHE ??= resolve('.data/compile-cache') // loading the sources takes three quarters of the CPU

if (!isInstalled()) await install()
const isCurrent = Number.parseInt(process.versions.node, 10) >= 24
const node = isCurrent ? process.execPath : 'node_modules/.bin/node'
if (!existsSync(node)) {
  console.error(
    `Sluice needs Node 24 or newer, this is ${process.version}. Run \`nvm install 24\`, or see https://nodejs.org/download`,
  )
  process.exit(1)
}
process.exit(
  await run(node, [`infra/local/${script[0]}.ts`, ...script.slice(1), ...args], 'inherit', 'inherit', 'ipc').code,
)

/**
 * Returns whether node_modules matches package-lock.json. File dates are useless in a copied or freshly pulled
 * checkout.
 */
function isInstalled() {
  const read = (file) => JSON.parse(readFileSync(file, 'utf8')).packages
  if (!existsSync('node_modules/.package-lock.json')) return false
  const found = read('node_modules/.package-lock.json')
  const wanted = Object.entries(read('package-lock.json')).filter(([path]) => path.includes('node_modules/'))
  return wanted.every(([path, { version, optional }]) => optional || found[path]?.version === version)
}

/**
 * Installs missing packages. Unlike `npm ci`, it keeps packages in use and accepts a lockfile without other platforms'
 * optional packages.
 */
async function install() {
  const pidFile = '.data/npm-install.pid'
  mkdirSync('.data', { recursive: true })
  while (!takeLock(pidFile)) await sleep(200)
  if (isInstalled()) return rmSync(pidFile)
  console.log('installing the npm packages')
  const npm = run('npm', ['install', '--no-save', '--include=dev', '--loglevel=error'], 'pipe', 'pipe')
  writeFileSync(pidFile, `${npm.pid}`) // npm may outlive this process
  const code = await npm.code
  rmSync(pidFile)
  if (code === 0) return
  console.error(`${npm.output()}\n\`npm install\` failed (see above)`)
  process.exit(1)
}

/** Acquires the lock among launchers. Returns false while the process in the PID file is running. */
function takeLock(pidFile) {
  try {
    if (existsSync(pidFile)) process.kill(Number(readFileSync(pidFile, 'utf8')), 0)
  } catch {
    rmSync(pidFile, { force: true })
  }
  try {
    writeFileSync(pidFile, `${process.pid}`, { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    console.error(`cannot write ${pidFile} (${error.code}). Does this checkout belong to another user?`)
    process.exit(1)
  }
}

/** Runs a program and forwards signals to it. The program stops if this process (via `ipc`) or npm is killed. */
function run(file, args, ...stdio) {
  const child = spawn(file, args, { stdio: ['inherit', ...stdio] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk))
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  const parent = process.ppid
  setInterval(() => process.ppid === parent || child.kill('SIGTERM'), 1000).unref()
  const code = new Promise((resolve) => {
    child.once('error', (error) => {
      output += error.message
      resolve(1)
    })
    child.once('close', (code) => resolve(code ?? 1))
  })
  return { pid: child.pid, code, output: () => output }
}
