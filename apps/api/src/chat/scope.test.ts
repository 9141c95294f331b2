import { createScriptedModel } from '@repo/testing/scripted-model'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const model = createScriptedModel()
const { app, alice, bob, work, close } = await testApp({ llm: model.llm })
afterAll(close)

async function addDocument(title: string, team: string, headers = alice): Promise<string> {
  const payload = { title, text: `The harbour of ${title} opens at dawn.`, metadata: { team } }
  return (await app.inject({ method: 'POST', url: '/documents', headers, payload })).json().id
}

const [north, south, east] = [
  await addDocument('North', 'ops'),
  await addDocument('South', 'dev'),
  await addDocument('East', 'dev'),
]
const foreign = await addDocument('Foreign', 'ops', bob)
await work()

const post = (payload: object, headers = alice) => app.inject({ method: 'POST', url: '/chat', headers, payload })

/** Returns the titles of the passages that the model is given. */
async function listTitles(payload: object, headers = alice): Promise<string[]> {
  const pending = post(payload, headers)
  const answer = await model.takeAnswer()
  answer.end()
  expect((await pending).statusCode).toBe(200)
  return answer.request.passages.map(({ title }) => title).toSorted()
}

const text = 'When does the harbour open?'
const toUiMessages = (id: string, questionId = `question-of-${id}`) => ({
  id,
  messages: [{ id: questionId, role: 'user', parts: [{ type: 'text', text }] }],
})

const cases: [string, object, string[]][] = [
  ['no scope', {}, ['East', 'North', 'South']],
  ['a filter', { filter: { team: 'dev' } }, ['East', 'South']],
  ['null, which counts as absent', { filter: null, documentIds: null }, ['East', 'North', 'South']],
  ['an empty filter', { filter: {} }, ['East', 'North', 'South']],
  ['a filter that matches nothing', { filter: { team: 'none' } }, []],
  ['document ids', { documentIds: [north, east] }, ['East', 'North']],
  ['no document ids', { documentIds: [] }, []],
  ['both', { filter: { team: 'dev' }, documentIds: [north, east] }, ['East']],
  ['another owner’s id', { documentIds: [foreign] }, []],
  ['another owner’s id beside an own one', { documentIds: [foreign, south] }, ['South']],
  ['an unknown id', { documentIds: [crypto.randomUUID()] }, []],
]

describe('the model is given only passages in the scope', () => {
  it.each(cases)('%s, with a plain message', async (_, scope, titles) => {
    expect(await listTitles({ message: text, ...scope })).toEqual(titles)
  })

  it.each(cases)('%s, with the messages of useChat', async (_, scope, titles) => {
    expect(await listTitles({ ...toUiMessages(crypto.randomUUID()), ...scope })).toEqual(titles)
  })

  it('of the requesting owner', async () => {
    expect(await listTitles({ message: text, documentIds: [north, south, east] }, bob)).toEqual([])
    expect(await listTitles({ message: text, filter: { team: 'ops' } }, bob)).toEqual(['Foreign'])
  })
})

describe('the scope of a stored question', () => {
  const regenerate = (id: string, scope = {}) =>
    listTitles({ ...toUiMessages(id), trigger: 'regenerate-message', ...scope })

  it.each([
    ['filter', { filter: { team: 'dev' } }, ['East', 'South']],
    ['document ids', { documentIds: [north] }, ['North']],
  ])('applies again when its answer is regenerated: %s', async (kind, scope, titles) => {
    const id = `kept-${kind.replace(' ', '-')}`
    expect(await listTitles({ ...toUiMessages(id), ...scope })).toEqual(titles)
    expect(await regenerate(id)).toEqual(titles)
    expect(await regenerate(id)).toEqual(titles)
  })

  it('is replaced by that of a regenerate request', async () => {
    await listTitles({ ...toUiMessages('replaced'), filter: { team: 'dev' } })
    expect(await regenerate('replaced', { documentIds: [north] })).toEqual(['North'])
    expect(await regenerate('replaced')).toEqual(['North'])
    expect(await regenerate('replaced', { filter: {} })).toEqual(['East', 'North', 'South'])
    expect(await regenerate('replaced')).toEqual(['East', 'North', 'South'])
  })

  it('does not apply to the next question', async () => {
    await listTitles({ ...toUiMessages('next'), filter: { team: 'dev' } })
    expect(await listTitles(toUiMessages('next', 'another'))).toEqual(['East', 'North', 'South'])
  })
})

it.each<[string, object, string]>([
  ['a filter that is no object', { filter: 'team' }, '/filter'],
  ['a list as the filter', { filter: [] }, '/filter'],
  ['a nested filter', { filter: { team: { name: 'ops' } } }, '/filter/team'],
  ['a filter of many entries', { filter: Object.fromEntries(Array.from({ length: 21 }, (_, n) => [n, n])) }, '/filter'],
  ['one id instead of a list', { documentIds: north }, '/documentIds'],
  ['an id that is no UUID', { documentIds: [north, 'handbook'] }, '/documentIds/1'],
  ['51 ids', { documentIds: Array.from({ length: 51 }, () => north) }, '/documentIds'],
])('400 for %s', async (_, scope, path) => {
  const problem = (await post({ message: text, ...scope })).json()
  expect(problem).toMatchObject({ status: 400, code: 'invalid_request', errors: [{ path }] })
  expect(model.answers).toEqual([])
})

it('accepts 50 ids', async () => {
  expect(await listTitles({ message: text, documentIds: Array.from({ length: 50 }, () => north) })).toEqual(['North'])
})
