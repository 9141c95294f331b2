import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'

const Line = z.object({ msg: z.literal('event loop turns'), longestMs: z.number() })
const pauseMs = 200 // between two rounds of large inputs

/** Node options that measure the turns of the event loop. */
export const measureTurns = ['--import', import.meta.resolve('@repo/testing/measure-turns')]

const text = 'A lock is held until its transaction ends.\n'.repeat(46_000) // two million characters
const messages = Array.from({ length: 250 }, (_, index) => ({
  id: `m${index}`,
  role: 'user',
  parts: [{ type: 'text', text: `${'long '.repeat(6000)}[mock tokens=1]` }],
}))

/**
 * Sends the largest inputs to a server again and again until `ended` resolves. Returns the longest turn of its event loop
 * meanwhile, in ms of CPU. `log` is what the server writes, `pid` its process.
 */
export async function measureStalls(url: string, pid: number, log: string, ended: Promise<unknown>): Promise<number> {
  let isOver = false
  const over = ended.finally(() => {
    isOver = true
  })
  await readLongest(pid, log)
  while (!isOver) {
    await Promise.all([
      post(`${url}/documents`, { title: crypto.randomUUID(), text }),
      post(`${url}/chat`, { id: crypto.randomUUID(), messages }),
      post(`${url}/v1/chat/completions`, { model: 'mock', messages: [{ role: 'user', content: text }] }),
    ])
    await sleep(pauseMs)
  }
  await over.catch(() => {})
  return readLongest(pid, log)
}

async function post(url: string, body: object): Promise<void> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  await response.body?.pipeTo(new WritableStream())
}

async function readLongest(pid: number, log: string): Promise<number> {
  const read = () =>
    readFileSync(log, 'utf8')
      .split('\n')
      .filter((line) => line.includes('"event loop turns"'))
  const before = read().length
  process.kill(pid, 'SIGWINCH')
  while (read().length === before) await sleep(20)
  return Line.parse(JSON.parse(read().at(-1) ?? '')).longestMs
}
