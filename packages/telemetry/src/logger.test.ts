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

/** Returns an error with an extra property, like Drizzle's errors. */
const createErrorWith = (params: string) => Object.assign(new Error('it failed'), { params })

/** Returns an error of V8 that quotes the value. */
function provokeV8Error(text: unknown): unknown {
  try {
    return 'a' in Object(text).valueOf()
  } catch (error) {
    return error
  }
}

it('writes the allowed fields and the number of the others', () => {
  const { log, read } = capture()
  log.info({ route: '/chat', status: 200, question: 'a secret', body: { text: 'a secret' } }, 'request ended')
  const text = read()
  expect(JSON.parse(text)).toMatchObject({ msg: 'request ended', route: '/chat', status: 200, withheld: 2 })
  expect(text).not.toContain('secret')
})

it.each([
  ['an error', (log: ReturnType<typeof createLogger>) => log.error(new Error('a secret'))],
  ['an error with a message', (log: ReturnType<typeof createLogger>) => log.error(new Error('a secret'), 'it failed')],
  ['an error as Fastify logs it', (log: ReturnType<typeof createLogger>) => log.warn({ err: new Error('a secret') })],
  [
    'an error under an allowed name',
    (log: ReturnType<typeof createLogger>) => log.warn({ error: createErrorWith('a secret') }),
  ],
  ['an error that quotes a value', (log: ReturnType<typeof createLogger>) => log.warn(provokeV8Error('a secret'))],
  [
    'an error message that looks like a stack',
    (log: ReturnType<typeof createLogger>) => log.warn(new Error('a\n    at a secret')),
  ],
  ['a value for %s', (log: ReturnType<typeof createLogger>) => log.info('asked %s', 'a secret')],
  ['a request', (log: ReturnType<typeof createLogger>) => log.trace({ req: { url: '/search?q=a secret' } }, 'asked')],
  [
    'a line of a request’s logger',
    (log: ReturnType<typeof createLogger>) => log.child({ reqId: 'r' }).info({ text: 'a secret' }),
  ],
])('does not log user data from %s', (_name, write) => {
  const { log, read } = capture()
  write(log)
  const text = read()
  expect(JSON.parse(text)).toMatchObject({ level: expect.any(Number), msg: expect.any(String) })
  expect(text).not.toContain('secret')
})
