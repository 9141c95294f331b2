import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  globSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'

const root = join(import.meta.dirname, '../..')

/** Creates a commit of this working tree in a separate folder, with the installed packages but its own workspaces. */
export function copyRepository() {
  const directory = mkdtempSync(join(realpathSync(tmpdir()), 'copy of a repository '))
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
  for (const file of listed.toString().split('\0')) {
    if (lstatSync(join(root, file), { throwIfNoEntry: false })?.isFile())
      cpSync(join(root, file), join(directory, file))
  }
  /** Runs a command line as a shell in the copy would. Never rejects. */
  const run = async (command: string, env: Record<string, string> = {}) => {
    const child = spawn(command, {
      cwd: directory,
      env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: '1', ...env },
      shell: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const ended = once(child, 'close')
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
    const [status] = await ended
    return { status: Number(status), output: `${stdout}${stderr}` }
  }
  const commit =
    'git init --quiet && git add --all && git -c user.name=Test -c user.email=test@localhost commit --quiet -m copy'
  execFileSync('sh', ['-c', commit], { cwd: directory })
  linkPackages(directory)
  return { directory, run, remove: () => rmSync(directory, { recursive: true, force: true, maxRetries: 10 }) }
}

/** Links every installed package. Packages of this repository are links to workspaces, which the copy has itself. */
function linkPackages(directory: string): void {
  const link = (name: string, target = join(root, name)) => {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    symlinkSync(target, join(directory, name))
  }
  for (const name of readdirSync(join(root, 'node_modules'))) if (name !== '@repo') link(`node_modules/${name}`)
  for (const name of globSync('{apps,packages}/*/node_modules', { cwd: root })) link(name)
  for (const name of globSync('{apps,packages}/*', { cwd: directory })) {
    link(`node_modules/@repo/${name.split('/')[1]}`, join(directory, name))
  }
}
