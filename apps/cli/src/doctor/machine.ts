import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { DoctorConfig } from '@repo/config'
import { assertDriverPatched } from '@repo/db'
import { checkVersion, type Finding, fail, ok, required } from './examine.ts'

/** Reports invalid variables, and the host and name of each database. */
export function checkEnvironment({ problems, databaseUrl, directUrl }: DoctorConfig): Finding[] {
  const urls = Object.entries({ DATABASE_URL: databaseUrl, DIRECT_DATABASE_URL: directUrl })
  return [
    ...problems.map((problem) => fail(problem, 'change it in the environment or in .env (see .env.example)')),
    ...urls.flatMap(([name, url]) => (url ? [ok(`${name} is ${new URL(url).host}${new URL(url).pathname}`)] : [])),
  ]
}

/** Checks the version of Node. */
export function checkNode(): Finding[] {
  return [checkVersion('Node', process.versions.node, '24', 'run `nvm install 24`, or see https://nodejs.org/download')]
}

/** Checks that the postgres driver is patched. Throws if it is not. */
export function checkDriver(): Finding[] {
  assertDriverPatched()
  return [ok('postgres is patched')]
}

/** Checks whether the port is free, used by Sluice, or used by another program. */
export async function checkPort({ host, port }: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  const [address, number] = [required(host, 'HOST'), required(port, 'PORT')]
  const listenError = await tryToListen(address, number)
  if (!listenError) return [ok(`${number} is free on ${address} (no API is running)`)]
  if (listenError !== 'EADDRINUSE')
    return [
      fail(
        `cannot listen on ${address}, port ${number} (${listenError})`,
        'set HOST to an address of this machine and PORT to a port that you may use',
      ),
    ]
  const reachable = address.replace('0.0.0.0', '127.0.0.1').replace(/^::$/, '::1')
  const url = `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${number}`
  const id = randomUUID() // Sluice returns it in its response, other programs do not
  const answer = await fetch(`${url}/health/ready`, { signal, headers: { 'x-request-id': id } }).catch(() => undefined)
  if (answer?.headers.get('x-request-id') !== id)
    return [fail(`${number} is in use by another program`, 'stop that program, or set PORT to a free port')]
  if (!answer.ok)
    return [
      fail(`the API at ${url} is not ready: ${await answer.text()}`, 'see the checks below and the log of the API'),
    ]
  const { status } = await fetch(`${url}/conversations`, { signal })
  return [ok(`the API is running at ${url}, ${status === 401 ? 'and requires a key' : 'without keys (AUTH=off)'}`)]
}

/** Returns the error code if this process cannot listen there. */
async function tryToListen(host: string, port: number): Promise<string | undefined> {
  const server = createServer().listen(port, host)
  try {
    await once(server, 'listening')
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
  server.close()
  await once(server, 'close')
}
