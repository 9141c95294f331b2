import { afterAll, expect, it } from 'vitest'
import { testTools } from '../testing-tools.ts'

const { app, alice, bob, work, callTool, close } = await testTools({ environment: { RETRIEVAL: 'tool' } })
afterAll(close)

const payload = { title: 'Office', text: 'The office opens at nine.' }
const { id } = (await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })).json()
await work()

it("returns the owner's best passages with the numbers to cite them by", async () => {
  const { output } = await callTool('search_documents', { query: 'When does the office open?' })
  expect(output).toEqual({ passages: [{ n: 1, title: 'Office', text: payload.text, documentId: id }] })
})

it('finds nothing of another owner', async () => {
  const { output } = await callTool('search_documents', { query: 'When does the office open?' }, bob)
  expect(output).toEqual({ passages: [] })
})
