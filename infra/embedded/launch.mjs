// The door to `npm start`, `npm run dev` and `npm test`: the one file for any Node from 18 on and a clone without packages.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const [command, ...args] = process.argv.slice(2)
const script = command === 'dev' ? ['start', '--watch'] : [command]
process.chdir(fileURLToPath(new URL('../..', import.meta.url)))

if (!isInstalled()) await install()
const isCurrent = Number.parseInt(process.versions.node, 10) >= 24
const node = isCurrent ? process.execPath : 'node_modules/.bin/node'
if (!existsSync(node)) {
  console.error(
    `Sluice needs Node 24 or newer, this is ${process.version}: \`nvm install 24\`, or https://nodejs.org/download`,
  )
  process.exit(1)
}
process.exit(
  await run(node, [`infra/embedded/${script[0]}.ts`, ...script.slice(1), ...args], 'inherit', 'inherit', 'ipc').code,
)

/** Whether node_modules holds what package-lock.json asks for. Dates say nothing in a copied or freshly pulled checkout. */
function isInstalled() {
  const read = (file) => JSON.parse(readFileSync(file, 'utf8')).packages
  if (!existsSync('node_modules/.package-lock.json')) return false
  const found = read('node_modules/.package-lock.json')
  const wanted = Object.entries(read('package-lock.json')).filter(([path]) => path.includes('node_modules/'))
  return wanted.every(([path, { version, optional }]) => optional || found[path]?.version === version)
}

/** Unlike `npm ci`, this leaves the packages in use alone and takes a lockfile without other platforms' optional packages. */
async function install() {
  const note = '.data/npm-install.pid'
  mkdirSync('.data', { recursive: true })
  while (!take(note)) await sleep(200)
  if (isInstalled()) return rmSync(note)
  console.log('installing the npm packages')
  const npm = run('npm', ['install', '--no-save', '--include=dev', '--loglevel=error'], 'pipe', 'pipe')
  writeFileSync(note, `${npm.pid}`) // npm may outlive this process
  const code = await npm.code
  rmSync(note)
  if (code === 0) return
  console.error(`${npm.output()}\n\`npm install\` failed (see above)`)
  process.exit(1)
}

/** Takes turns with other launchers: false while the process that the note names is alive. */
function take(note) {
  try {
    if (existsSync(note)) process.kill(Number(readFileSync(note, 'utf8')), 0)
  } catch {
    rmSync(note, { force: true })
  }
  try {
    writeFileSync(note, `${process.pid}`, { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    console.error(`${note} cannot be written (${error.code}): is this checkout another user's?`)
    process.exit(1)
  }
}

/** Runs a program that gets this one's signals, and that ends with it (`ipc`) and with npm, should those be killed. */
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
