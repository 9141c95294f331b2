import { PassThrough } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import Fastify from 'fastify'
import { expect, it, onTestFinished } from 'vitest'
import errors from './error-handler.ts'
import { createJsonReader } from './large-json.ts'
import validation from './validation.ts'

const long = 'a'.repeat(100_000) // a body that contains it is parsed in the thread

async function createEcho() {
  const app = Fastify({ bodyLimit: 8 * 1024 * 1024 })
  await app.register(errors)
  await app.register(validation)
  app.post('/echo', async ({ body }) => JSON.stringify(body))
  app.post('/last', { config: { lastOf: 'messages' } }, async ({ body }) => JSON.stringify(body))
  onTestFinished(() => app.close())
  const post = (url: string, payload: string | Buffer) =>
    app.inject({ method: 'POST', url, payload, headers: { 'content-type': 'application/json' } })
  return { app, post }
}

const nest = (depth: number) => `{"long":"${long}","nested":${'['.repeat(depth)}${']'.repeat(depth)}}`

it('parses a large body like a small one', async () => {
  const { post } = await createEcho()
  const body = { long, emoji: '🏊', nested: [{ a: [null, 1.5, true] }], escaped: '\u0000"\\\ud800' }
  expect(JSON.parse((await post('/echo', JSON.stringify(body))).body)).toEqual(body)
})

it('parses texts of any length and place, whatever batch they arrive in', async () => {
  const { post } = await createEcho()
  const many = Array.from({ length: 1500 }, (_, index) => `${index} `.repeat(400))
  const body = { many, image: 'a'.repeat(3_000_000), nested: [{ text: long }, [long, { '': long, a: { b: 'c' } }]] }
  expect((await post('/echo', JSON.stringify(body))).body).toBe(JSON.stringify(body))
  expect((await post('/echo', JSON.stringify(long))).body).toBe(JSON.stringify(long))
})

it.each([
  ['truncated', `{"long":"${long}"`],
  ['nested too deeply', '['.repeat(100_000) + ']'.repeat(100_000)],
  ...[3000, 5000, 9000].map((depth) => [`${depth} arrays inside each other`, nest(depth)]),
  ['a __proto__ key', `{"long":"${long}","__proto__":{"a":1}}`],
  ['a constructor with a prototype', `{"long":"${long}","constructor":{"prototype":{}}}`],
])('rejects a large body: %s', async (_, payload) => {
  const { post } = await createEcho()
  const response = await post('/echo', payload)
  expect([400, 413]).toContain(response.statusCode)
  expect(['invalid_json', 'body_too_large']).toContain(response.json().code)
  expect((await post('/echo', nest(100))).body).toBe(nest(100)) // the next one is served
})

it('rejects more values than the event loop can check in one turn, with an explanation', async () => {
  const { post } = await createEcho()
  const response = await post('/echo', JSON.stringify(Array.from({ length: 50_000 }, () => 0)))
  expect(response.statusCode).toBe(413)
  expect(response.json()).toMatchObject({
    code: 'body_too_large',
    detail: 'The JSON body has more than 10,000 values. Split it into several requests.',
  })
})

it('rejects a text that is longer than one turn may receive, with an explanation', async () => {
  const { post } = await createEcho()
  for (const letter of ['a', '水']) {
    const length = letter === 'a' ? 5_000_000 : 2_500_000
    const longest = JSON.stringify({ text: letter.repeat(length) })
    expect((await post('/echo', longest)).body).toBe(longest)
    const response = await post('/echo', JSON.stringify({ text: letter.repeat(length + 1) }))
    expect(response.statusCode).toBe(413)
    expect(response.json()).toMatchObject({
      code: 'body_too_large',
      detail: 'The JSON body has a text of more than 5 MB. Split it or send less.',
    })
  }
})

it('keeps only the last message of a large conversation, so that its length costs nothing', async () => {
  const { post } = await createEcho()
  const messages = Array.from({ length: 20_000 }, (_, index) => ({ id: `m${index}` }))
  const { body } = await post('/last', JSON.stringify({ id: 'c', messages }))
  expect(JSON.parse(body)).toEqual({ id: 'c', messages: [{ id: 'm19998' }, { id: 'm19999' }] })
})

it('serves small bodies while a large one is parsed', async () => {
  const { post } = await createEcho()
  const order: string[] = []
  const large = post('/echo', JSON.stringify({ long: 'a'.repeat(4_000_000) })).then(() => order.push('large'))
  const small = post('/echo', '{"a":1}').then(() => order.push('small'))
  await Promise.all([large, small])
  expect(order).toEqual(['small', 'large'])
})

it('rejects a large body whose thread has ended before the body has', async () => {
  const json = createJsonReader()
  const body = new PassThrough()
  const reading = expect(json.read(body, 1_000_000)).rejects.toThrow('The JSON thread has ended.')
  body.write(`{"long":"${long}`)
  for (let turns = 0; turns < 20; turns += 1) await nextTurn() // the first chunk reaches the thread
  await json.close()
  body.end('"}')
  await reading
})
