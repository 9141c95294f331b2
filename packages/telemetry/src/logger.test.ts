import { PassThrough } from 'node:stream'
import { expect, it } from 'vitest'
import { createLogger } from './logger.ts'

function capture() {
  const destination = new PassThrough()
  return {
    log: createLogger('trace', destination),
    read: () => String(destination.read() ?? ''),
  }
}

/** An error with more in it, as Drizzle's. */
const hoard = (params: string) => Object.assign(new Error('it failed'), { params })

/** V8 quotes the value that it cannot work with. */
function provoke(text: unknown): unknown {
  try {
    return 'a' in Object(text).valueOf()
  } catch (error) {
    return error
  }
}

it('writes what is on its list, and of the rest how much there was', () => {
  const { log, read } = capture()
  log.info({ route: '/chat', status: 200, question: 'a secret', body: { text: 'a secret' } }, 'request ended')
  const text = read()
  expect(JSON.parse(text)).toMatchObject({ msg: 'request ended', route: '/chat', status: 200, withheld: 2 })
  expect(text).not.toContain('secret')
})

it.each([
  ['an error', (log: ReturnType<typeof createLogger>) => log.error(new Error('a secret'))],
  ['an error with words', (log: ReturnType<typeof createLogger>) => log.error(new Error('a secret'), 'it failed')],
  ['an error as Fastify logs it', (log: ReturnType<typeof createLogger>) => log.warn({ err: new Error('a secret') })],
  ['an error under an allowed name', (log: ReturnType<typeof createLogger>) => log.warn({ error: hoard('a secret') })],
  ['the words of an engine', (log: ReturnType<typeof createLogger>) => log.warn(provoke('a secret'))],
  ['a message like a stack', (log: ReturnType<typeof createLogger>) => log.warn(new Error('a\n    at a secret'))],
  ['what stands for %s', (log: ReturnType<typeof createLogger>) => log.info('asked %s', 'a secret')],
  ['a request', (log: ReturnType<typeof createLogger>) => log.trace({ req: { url: '/search?q=a secret' } }, 'asked')],
  [
    'a line of a request',
    (log: ReturnType<typeof createLogger>) => log.child({ reqId: 'r' }).info({ text: 'a secret' }),
  ],
])('nothing of a user’s in %s', (_name, write) => {
  const { log, read } = capture()
  write(log)
  const text = read()
  expect(JSON.parse(text)).toMatchObject({ level: expect.any(Number), msg: expect.any(String) })
  expect(text).not.toContain('secret')
})
