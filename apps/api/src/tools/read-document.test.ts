import { afterAll, expect, it } from 'vitest'
import { testTools } from '../testing-tools.ts'

const { app, alice, bob, work, callTool, close } = await testTools({ environment: { RETRIEVAL: 'tool' } })
afterAll(close)

const text = `${'a'.repeat(8000)}The end.`
const payload = { title: 'Long', text }
const { id } = (await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })).json()
await work()

it('returns a page of the text, and where the next one begins', async () => {
  const first = await callTool('read_document', { documentId: id })
  expect(first.output).toEqual({ title: 'Long', text: text.slice(0, 8000), next: 8000 })
  const second = await callTool('read_document', { documentId: id, start: 8000 })
  expect(second.output).toEqual({ title: 'Long', text: 'The end.' })
})

it('does not find the document of another owner', async () => {
  const { errorText } = await callTool('read_document', { documentId: id }, bob)
  expect(errorText).toBe('There is no document with this id. Use the `documentId` of a passage.')
})
