// The files that `npm run new -- tool` writes. Counting words is a placeholder for what the tool does.

const maxLength = 40 // OpenAI allows 64 characters

/** Returns the name of a tool as models see it. Throws one sentence if a file cannot have this name. */
export function nameTool(name: string): string {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name) || name.length > maxLength)
    throw new Error(
      `Invalid name "${name}". Use at most ${maxLength} lower-case letters, digits and single hyphens, as in find-orders.`,
    )
  return name.replaceAll('-', '_')
}

export const writeTool = () => `
import { z } from 'zod'
import { defineTool } from '../chat/tools.ts'

export default defineTool({
  description: 'Counts the words of a text. Call it when the user asks how long a text is.',
  input: z.object({ text: z.string().min(1).max(10_000).describe('The text, verbatim') }),
  handler: async (_context, { text }) => ({ words: text.match(/\\S+/g)?.length ?? 0 }),
})
`

export const writeToolTest = (name: string) => `
import { afterAll, expect, it } from 'vitest'
import { testTools } from '../testing-tools.ts'

const { callTool, close } = await testTools()
afterAll(close)

it('counts the words of a text', async () => {
  expect(await callTool('${name}', { text: 'Two words' })).toMatchObject({ output: { words: 2 } })
})

it('rejects an empty text', async () => {
  const { errorText } = await callTool('${name}', { text: '' })
  expect(errorText).toContain('The input is invalid.')
})
`
