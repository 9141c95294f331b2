import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { DoctorConfig } from '@repo/config'
import { assertDriverPatched } from '@repo/db'
import { checkVersion, type Finding, fail, given, ok } from './examine.ts'

export function checkEnvironment({ problems, databaseUrl, directUrl }: DoctorConfig): Finding[] {
  const urls = Object.entries({ DATABASE_URL: databaseUrl, DIRECT_DATABASE_URL: directUrl })
  return [
    ...problems.map((problem) => fail(problem, 'change it in the environment or in .env (.env.example explains it)')),
    ...urls.flatMap(([name, url]) => (url ? [ok(`${name} is ${new URL(url).host}${new URL(url).pathname}`)] : [])),
  ]
}

export function checkNode(): Finding[] {
  return [checkVersion('Node', process.versions.node, '24', '`nvm install 24`, or https://nodejs.org/download')]
}

export function checkDriver(): Finding[] {
  assertDriverPatched()
  return [ok('postgres is patched')]
}

export async function checkPort({ host, port }: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  const [address, number] = [given(host, 'HOST'), given(port, 'PORT')]
  const obstacle = await tryToListen(address, number)
  if (!obstacle) return [ok(`${number} is free on ${address}: no API runs there`)]
  if (obstacle !== 'EADDRINUSE')
    return [
      fail(
        `nothing can listen on ${address}, port ${number} (${obstacle})`,
        'set HOST and PORT to what this machine has',
      ),
    ]
  const reachable = address.replace('0.0.0.0', '127.0.0.1').replace(/^::$/, '::1')
  const url = `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${number}`
  const id = randomUUID() // an API of this kind gives it back
  const answer = await fetch(`${url}/health/ready`, { signal, headers: { 'x-request-id': id } }).catch(() => undefined)
  if (answer?.headers.get('x-request-id') !== id)
    return [fail(`${number} is taken by another program`, 'stop it, or set PORT to a free one')]
  if (!answer.ok) return [fail(`the API at ${url} is not ready: ${await answer.text()}`, 'see below, and its log')]
  const { status } = await fetch(`${url}/conversations`, { signal })
  return [ok(`an API answers at ${url}, ${status === 401 ? 'for those who have a key' : 'without keys (AUTH=off)'}`)]
}

/** The code of what is in the way, if anything is. */
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
