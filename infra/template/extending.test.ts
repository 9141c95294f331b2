import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sendChunks, startUpstream } from '@repo/testing/upstream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { copyRepository } from './testing.ts'

// Applies the diffs of docs/extending.md to a copy of this repository, and uses what they add.

const copy = copyRepository()
afterAll(copy.remove)
const page = readFileSync(join(copy.directory, 'docs/extending.md'), 'utf8')

/** Returns the diff below a heading. */
function readDiff(heading: string): string {
  return page.split(`\n## ${heading}\n`)[1]?.match(/^```diff\n(.*?)^```/ms)?.[1] ?? ''
}

/** Runs a module in the copy and returns the value that it passes to `print`. */
async function evaluate(module: string): Promise<unknown> {
  const file = join(copy.directory, 'evaluate.ts')
  writeFileSync(file, `const print = (value: unknown) => console.log(JSON.stringify(value))\n${module}`)
  const { status, output } = await copy.run('node evaluate.ts && rm evaluate.ts')
  expect(status, output).toBe(0)
  return JSON.parse(output)
}

const diffs = [
  ['Add a tool', 'apps/api/src/tools/list-documents.ts', 'apps/api/src/tools/list-documents.test.ts'],
  ['Change the prompt', 'packages/rag/src/prompt.ts'],
  ['Change retrieval', 'packages/rag/src/retrieve.ts'],
  ['Add a provider with another API', 'packages/llm/src/apis/responses.ts'],
] as const

it.each(diffs)('%s: the diff applies, and changes one file', async (heading, ...files) => {
  const file = join(copy.directory, '.git/a.diff')
  writeFileSync(file, readDiff(heading))
  const { status, output } = await copy.run(`git apply --numstat --apply .git/a.diff`)
  expect(status, output).toBe(0)
  expect(output.match(/\S+$/gm)).toEqual(files)
})

describe('a copy with all of these changes', () => {
  it.each(['tsc', 'biome check', 'oxlint --type-aware', 'knip'])('passes %s', async (command) => {
    const { status, output } = await copy.run(command)
    expect(status, output).toBe(0)
  })

  it('has the tool, which works', async () => {
    const { status, output } = await copy.run('vitest run apps/api/src/tools/list-documents.test.ts')
    expect(status, output).toBe(0)
    expect(output).toMatch(/Tests +1 passed/)
  })

  it('tells the model the date', async () => {
    const last = await evaluate(`import { buildPrompt } from './packages/rag/src/prompt.ts'
      print(buildPrompt({ passages: [], history: [], question: 'Is it open?' }).at(-1)?.content)`)
    expect(last).toMatch(/^Is it open\?\n\nToday is \d{4}-\d\d-\d\d\.$/)
  })

  it('retrieves the best passage of each document', async () => {
    const found = await evaluate(`import { retrievePassages } from './packages/rag/src/retrieve.ts'
      const search = async () => [...'aabcbd'].map((documentId, chunkId) => ({ documentId, chunkId }))
      const options = { store: { passages: { search } }, embedder: { embedQuery: async () => '[1]' } }
      const found = await retrievePassages(options as never, 'owner', 'question', { limit: 3 })
      print(found.map(({ chunkId }) => chunkId))`)
    expect(found).toEqual([0, 2, 3])
  })
})

describe('a model with the Responses API', () => {
  let upstream: Awaited<ReturnType<typeof startUpstream>>
  beforeAll(async () => {
    upstream = await startUpstream()
  })

  it('streams text, calls and usage', async () => {
    const item = { type: 'function_call', call_id: 'c1', name: 'add', arguments: '{"a":1}' }
    const usage = { input_tokens: 5, output_tokens: 2, input_tokens_details: { cached_tokens: 4 } }
    upstream.next(
      sendChunks(
        { type: 'response.created', response: {} },
        { type: 'response.output_text.delta', delta: 'Let me add.' },
        { type: 'response.output_item.done', item },
        { type: 'response.completed', response: { status: 'completed', usage } },
      ),
    )
    const chatModels = [{ name: 'fast', model: 'gpt', api: 'responses', baseUrl: upstream.url }]
    const options = { baseUrl: upstream.url, chatModel: 'fast', chatModels, embeddingModel: 'e' }
    const limits = { maxAnswerTokens: 100, firstByteTimeoutMs: 60_000, idleTimeoutMs: 60_000 }
    const called = { toolCallId: 'c0', toolName: 'add', input: '{}' }
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Add.' },
      { role: 'assistant', content: '', toolCalls: [called] },
      { role: 'tool', content: '{"sum":1}', toolCallId: 'c0' },
    ]
    const tools = [{ name: 'add', description: 'Adds', parameters: { type: 'object' } }]
    const request = { messages, tools, passages: [] }
    const events = await evaluate(`import { createLlm } from './packages/llm/src/index.ts'
      const llm = createLlm({ ...${JSON.stringify({ ...options, ...limits })}, beforeCall: () => {} })
      const { signal } = new AbortController()
      const batches = await llm.chat.stream({ ...${JSON.stringify(request)}, signal } as never)
      print((await Array.fromAsync(batches)).flat())
      llm.close()`)
    expect(events).toEqual([
      { type: 'text-delta', text: 'Let me add.' },
      { type: 'tool-call', toolCallId: 'c1', toolName: 'add', input: '{"a":1}' },
      {
        type: 'finish',
        finishReason: 'tool-calls',
        usage: { inputTokens: 5, outputTokens: 2, cachedInputTokens: 4 },
      },
    ])
    expect(upstream.calls[0]?.body).toMatchObject({
      model: 'gpt',
      max_output_tokens: 100,
      tools: [{ type: 'function', name: 'add' }],
      input: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Add.' },
        { type: 'function_call', call_id: 'c0', name: 'add', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c0', output: '{"sum":1}' },
      ],
    })
  })
})
