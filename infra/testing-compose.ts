import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findFreePort } from './local/stack.ts'
import { execute, root } from './testing.ts'

export type ComposeProject = Awaited<ReturnType<typeof createComposeProject>>

/** Whether a Docker engine with Compose answers. */
export async function hasEngine(): Promise<boolean> {
  return execute('sh', ['-c', 'docker info && docker compose version']).then(
    () => true,
    () => false,
  )
}

/**
 * A Compose project of its own on a free port, in a copy of the working tree: a developer's `.env`, data and containers
 * stay untouched. Nothing runs yet; `remove` ends all of it.
 */
export async function createComposeProject() {
  const project = `sluice-test-${process.pid}`
  const directory = await mkdtemp(join(tmpdir(), 'sluice compose '))
  const port = await findFreePort()
  const prometheusPort = await findFreePort()
  const inherited = Object.entries(process.env).filter(([name]) => /^(PATH|HOME|DOCKER_\w+|\w+_PROXY)$/i.test(name))
  const env = {
    ...Object.fromEntries(inherited),
    COMPOSE_PROJECT_NAME: project,
    PORT: `${port}`,
    PROMETHEUS_PORT: `${prometheusPort}`,
  }
  const options = { cwd: directory, env, maxBuffer: 1e8 }

  /** Runs a line as a shell in the checkout would. Throws with all that it wrote when it fails. */
  const sh = async (command: string) => (await execute('sh', ['-ec', command], options)).stdout
  const { stdout: files } = await execute('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
  })
  for (const file of files.split('\0').filter((name) => existsSync(join(root, name)) && name !== ''))
    await cp(join(root, file), join(directory, file))

  return {
    project,
    directory,
    port,
    prometheusPort,
    sh,
    /** Starts again whatever these lines of `.env` change. */
    up: async (settings: Record<string, string> = {}) => {
      const lines = Object.entries(settings).map((pair) => `${pair.join('=')}\n`)
      await writeFile(join(directory, '.env'), lines.join(''))
      await sh('docker compose up --detach --wait')
    },
    /** Runs in the background until `stop`. */
    start: (...args: string[]) => {
      const child = spawn('docker', ['compose', ...args], options)
      const ended = once(child, 'exit')
      let output = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
      const stop = async () => {
        child.kill('SIGINT')
        await ended
      }
      return { stop, readOutput: () => output }
    },
    remove: async () => {
      const label = `label=com.docker.compose.project=${project}`
      const images = `docker images --all --quiet --filter ${label}`
      await sh('rm -f .env docker-compose.override.yml; docker compose down --volumes --remove-orphans --timeout 5')
      await sh(`docker image rm --force $(${images} | sort --unique)`)
      await rm(directory, { recursive: true, force: true })
    },
  }
}
