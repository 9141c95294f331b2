import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')

/** What the manifests have to agree with, read from the rest of the repository. */
export type Facts = ReturnType<typeof readFacts>

/** Returns the facts. `app` is what a running API reports; without it, the rules that need it check nothing. */
export function readFacts(app?: { paths: string[]; metrics: string[] }) {
  const compose = read('docker-compose.yml')
  const readMs = (file: string) =>
    Number(
      read(file)
        .match(/closeTimeoutMs = ([\d_]+)/)?.[1]
        ?.replaceAll('_', ''),
    )
  return {
    ...app,
    /** Seconds that a process may take to close after its drain. */
    closeSeconds: readMs('apps/api/src/server.ts') / 1000,
    workerCloseSeconds: (2 * readMs('apps/worker/src/worker.ts')) / 1000,
    /** Settings of pgbouncer.ini.template. */
    pgbouncer: Object.fromEntries(
      [...read('infra/pgbouncer/pgbouncer.ini.template').matchAll(/^(\w+) = ([^$\n]*)$/gm)].map(
        ([, name = '', value = '']) => [name, value],
      ),
    ),
    /** Settings of Compose's Postgres. */
    postgres: Object.fromEntries(
      [...compose.matchAll(/^ +- -c(\w+)=(?:\$\{\w+:-)?(\w+)/gm)].map(([, name = '', value = '']) => [name, value]),
    ),
    variables: new Set([...read('.env.example').matchAll(/^# +([A-Z_]{4,})=/gm)].map(([, name = '']) => name)),
    /** Variables that the image sets. */
    imageEnvironment: Object.fromEntries(
      [...(read('infra/api/Dockerfile').match(/^ENV (.*)$/m)?.[1] ?? '').matchAll(/(\w+)=(\S+)/g)].map(
        ([, name = '', value = '']) => [name, value],
      ),
    ),
    images: [...read('.github/workflows/release.yml').matchAll(/file: (\S+), suffix: "([^"]*)"/g)].map(
      ([, file = '', suffix = '']) => ({ file, suffix }),
    ),
  }
}
