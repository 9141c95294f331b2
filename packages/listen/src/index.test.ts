import { once } from 'node:events'
import { createServer, get, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { describe, expect, it, onTestFinished } from 'vitest'
import { canSharePort, findPort, listenMore } from './index.ts'

const host = '127.0.0.1'

async function listen(server: Server) {
  await once(server.listen({ host, port: 0, reusePort: canSharePort }), 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

async function openClients(port: number, count: number): Promise<Socket[]> {
  const clients = Array.from({ length: count }, () => connect(port, host))
  onTestFinished(() => clients.forEach((client) => void client.destroy()))
  await Promise.all(clients.map((client) => once(client, 'connect')))
  return clients
}

/** Returns the largest number of waiting clients that a server accepts in one event loop iteration. */
async function countMostPerIteration(server: Server, port: number, clients: number): Promise<number> {
  let [accepted, inIteration, most] = [0, 0, 0]
  server.on('connection', () => {
    accepted += 1
    inIteration += 1
    most = Math.max(most, inIteration)
  })
  for (let n = 0; n < clients; n += 1) {
    const client = connect(port, host)
    onTestFinished(() => void client.destroy())
  }
  // They connect on the next tick. Blocking the thread gives the kernel time to complete that.
  process.nextTick(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100))
  while (accepted < clients) {
    await setImmediate()
    inIteration = 0
  }
  return most
}

describe.runIf(canSharePort)('listenMore', () => {
  it('accepts several clients per event loop iteration, while one socket accepts one', async () => {
    const [one, many] = [createServer(), createServer()]
    const ports = [await listen(one), await listen(many)] as const
    const { stop } = await listenMore(many)
    onTestFinished(stop)
    expect(await countMostPerIteration(one, ports[0], 64)).toBe(1)
    expect(await countMostPerIteration(many, ports[1], 64)).toBeGreaterThan(4)
  })

  it('serves requests from all sockets', async () => {
    const server = createServer((_, response) => response.end('yes'))
    const port = await listen(server)
    const { stop } = await listenMore(server)
    onTestFinished(stop)
    const ask = async () => {
      const [response] = await once(get({ host, port, agent: false }), 'response')
      return String((await response.toArray()).join(''))
    }
    expect(new Set(await Promise.all(Array.from({ length: 50 }, ask)))).toEqual(new Set(['yes']))
  })

  it('accepts no connection once it is stopped, and waits for open ones', async () => {
    const server = createServer()
    const port = await listen(server)
    const { stop, ended } = await listenMore(server)
    const sockets: Socket[] = []
    server.on('connection', (socket) => void sockets.push(socket))
    const clients = await openClients(port, 50)
    await expect.poll(() => sockets.length).toBe(50)
    let hasEnded = false
    void ended.then(() => {
      hasEnded = true
    })
    await stop()
    await expect(once(connect(port, host), 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    expect(hasEnded).toBe(false)
    for (const client of clients) client.destroy()
    await ended
  })

  it('does not reset connections in the backlog', async () => {
    const server = createServer((_, response) => response.end('yes'))
    const port = await listen(server)
    const { stop } = await listenMore(server)
    const responses = Array.from({ length: 100 }, async () => {
      const [response] = await once(get({ host, port, agent: false }), 'response')
      return String((await response.toArray()).join(''))
    })
    process.nextTick(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)) // all of them connect meanwhile
    await setImmediate()
    await stop()
    expect(new Set(await Promise.all(responses))).toEqual(new Set(['yes']))
  })
})

describe('findPort', () => {
  it('rejects while another socket listens, even with reusePort', async () => {
    const server = createServer()
    const port = await listen(server)
    await expect(findPort(host, port)).rejects.toMatchObject({ code: 'EADDRINUSE' })
    await once(server.close(), 'close')
    expect(await findPort(host, port)).toBe(port)
    expect(await findPort(host, 0)).toBeGreaterThan(1023)
  })

  it('never accepts a connection', async () => {
    const port = await findPort(host, 0)
    const connecting = new Worker(
      `const { connect } = require('node:net')
       const { parentPort, workerData } = require('node:worker_threads')
       const retry = () => connect(workerData).on('connect', () => parentPort.postMessage('connected')).on('error', retry)
       retry()
       parentPort.postMessage('started')`,
      { eval: true, workerData: { host, port } },
    )
    onTestFinished(async () => void (await connecting.terminate()))
    const messages: string[] = []
    connecting.on('message', (message) => void messages.push(message))
    await once(connecting, 'message')
    for (let n = 0; n < 500; n += 1) expect(await findPort(host, port)).toBe(port)
    expect(messages).toEqual(['started'])
  })

  it('rejects for an address that does not belong to this machine', async () => {
    await expect(findPort('192.0.2.1', 3000)).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' })
  })
})
