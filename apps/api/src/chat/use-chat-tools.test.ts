import { createScriptedModel } from '@repo/testing/scripted-model'
import {
  isToolUIPart,
  lastAssistantMessageIsCompleteWithApprovalResponses,
  lastAssistantMessageIsCompleteWithToolCalls,
  type UIMessage,
} from 'ai'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { testApp } from '../testing.ts'
import { createPages, type Page } from './testing-page.ts'
import { defineTool, ToolError } from './tools.ts'

const nothing = z.object({})
const tools = new Map(
  Object.entries({
    add: defineTool({
      description: 'Adds',
      input: z.object({ a: z.number() }),
      handler: async (_, { a }) => ({ sum: a + 1 }),
    }),
    refuse: defineTool({
      description: 'Refuses',
      input: nothing,
      handler: () => Promise.reject(new ToolError('Closed.')),
    }),
    pay: defineTool({ description: 'Pays', input: nothing, needsApproval: true, handler: async () => 'paid' }),
    locate: defineTool({ description: 'Runs in the client', input: nothing }),
    photograph: defineTool({ description: 'Runs in the client, if approved', input: nothing, needsApproval: true }),
  }),
)
const model = createScriptedModel({ tools: true })
const { app, alice, work, listen, close } = await testApp({ llm: model.llm, tools })
const api = `${await listen()}/chat`
const openPage = createPages(api, alice)
afterAll(close)

const payload = { title: 'Pool', text: 'The swimming pool is open from nine to five.' }
await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
await work()

const usage = { inputTokens: 10, outputTokens: 2, cachedInputTokens: 4 }
const sendAutomaticallyWhen = (options: { messages: UIMessage[] }) =>
  lastAssistantMessageIsCompleteWithToolCalls(options) || lastAssistantMessageIsCompleteWithApprovalResponses(options)

async function ask(options: Parameters<typeof openPage>[0] = {}) {
  const page = openPage({ sendAutomaticallyWhen, ...options })
  const { id, sendMessage } = await page.ready()
  void sendMessage({ text: 'When does the pool open?' })
  return { page, id }
}

async function call(...calls: [toolCallId: string, toolName: string, input?: string][]) {
  const step = await model.takeAnswer()
  for (const [toolCallId, toolName, input = '{}'] of calls) step.call(toolCallId, toolName, input)
  step.end('tool-calls', usage)
}

async function answer() {
  const step = await model.takeAnswer()
  step.think('Hm.')
  step.say('At nine [1].')
  step.end('stop', usage)
  return step
}

const tool = (page: Page) => page.chat().messages.at(-1)?.parts.findLast(isToolUIPart)
const reload = async (id: string): Promise<UIMessage[]> =>
  (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages

/** Compares what the page shows with what a reload shows. `toEqual` ignores the properties that the SDK sets to undefined. */
async function expectSame({ page, id }: { page: Page; id: string }) {
  await page.settled()
  expect(page.chat().error).toBeUndefined()
  const keep = ({ id, role, parts, metadata }: UIMessage) => ({ id, role, parts, metadata })
  expect((await reload(id)).map(keep)).toEqual(page.chat().messages.map(keep))
}

async function approve(page: Page, approved: boolean) {
  await expect.poll(() => tool(page)?.state).toBe('approval-requested')
  await page.settled()
  await page.chat().addToolApprovalResponse({ id: tool(page)?.approval?.id ?? '', approved, reason: 'I say so.' })
}

describe('a reload shows what the stream showed', () => {
  it('of steps with tools, sources, reasoning, and the usage of all steps', async () => {
    const asked = await ask()
    await call(['1', 'add', '{"a":1}'], ['2', 'refuse'], ['3', 'add', '{"a":"x"}'])
    await call(['1', 'unknown'])
    await answer()
    await expect.poll(() => asked.page.lines()[1]).toBe('assistant: [1 Pool]At nine [1].')
    await expectSame(asked)
    expect(asked.page.chat().messages[1]?.metadata).toEqual({
      finishReason: 'stop',
      model: 'spoken',
      usage: { inputTokens: 30, outputTokens: 6, totalTokens: 36, cachedInputTokens: 12 },
    })
  })

  it.each([true, false])('of an approval: %s', async (approved) => {
    const asked = await ask()
    await call(['1', 'pay'])
    await approve(asked.page, approved)
    await answer()
    await expect.poll(() => asked.page.lines()[1]).toContain('At nine')
    await expectSame(asked)
    expect(tool(asked.page)).toMatchObject({ state: approved ? 'output-available' : 'output-denied' })
    expect(asked.page.chat().messages[1]?.metadata).toMatchObject({ usage: { inputTokens: 20, totalTokens: 24 } })
  })
})

describe('a tool of the client', () => {
  it('runs in onToolCall, and the answer goes on by itself', async () => {
    const onToolCall = vi.fn(({ toolCall }: { toolCall: { toolCallId: string; toolName: string } }) => {
      const { toolCallId } = toolCall
      void asked.page.chat().addToolOutput({ tool: 'locate', toolCallId, output: { city: 'Ulm' } })
    })
    const asked = await ask({ onToolCall })
    await call(['1', 'locate'])
    const { request } = await answer()
    expect(request.messages.at(-1)).toMatchObject({ role: 'tool', content: '{"city":"Ulm"}' })
    await expect.poll(() => asked.page.lines()[1]).toContain('At nine')
    await expectSame(asked)
    expect(onToolCall).toHaveBeenCalledOnce()
  })

  it.each([
    ['output', { output: 'Ulm' }, 'Ulm'],
    ['error', { state: 'output-error', errorText: 'No signal.' }, 'Error: No signal.'],
  ] as const)(
    'may be answered after a reload with its %s, also when an earlier call had its id',
    async (_, given, content) => {
      const asked = await ask()
      await call(['1', 'add', '{"a":1}'])
      await answer()
      await expect.poll(() => asked.page.lines()[1]).toContain('At nine')
      await asked.page.settled()
      void asked.page.chat().sendMessage({ text: 'Where am I?' })
      await call(['1', 'locate'])
      await expect.poll(() => tool(asked.page)?.type).toBe('tool-locate')
      await expectSame(asked)
      asked.page.close()

      const page = openPage({ id: asked.id, messages: await reload(asked.id), sendAutomaticallyWhen })
      await page.ready()
      await page.chat().addToolOutput({ tool: 'locate', toolCallId: tool(page)?.toolCallId ?? '', ...given })
      const { request } = await answer()
      expect(request.messages.at(-1)).toMatchObject({ role: 'tool', content })
      await expect.poll(() => page.lines().at(-1)).toContain('At nine')
      await page.settled()
      expect(page.chat().messages[1]?.parts.find(isToolUIPart)).toMatchObject({ output: { sum: 2 } })
    },
  )

  it('may need approval first: the page then runs it, and nothing is sent twice', async () => {
    const asked = await ask()
    await call(['1', 'photograph'])
    await approve(asked.page, true)
    await expect.poll(() => tool(asked.page)?.state).toBe('input-available')
    await expectSame(asked)
    expect(tool(asked.page)?.approval).toMatchObject({ approved: true })
    expect((await reload(asked.id)).at(-1)?.metadata).toMatchObject({ model: 'spoken', usage: { inputTokens: 10 } })
    await asked.page.chat().addToolOutput({ tool: 'photograph', toolCallId: '1', output: 'a cat' })
    const { request } = await answer()
    expect(request.messages.at(-1)).toMatchObject({ role: 'tool', content: 'a cat' })
    await expect.poll(() => asked.page.lines()[1]).toContain('At nine')
    await expectSame(asked)
  })

  it('may be answered after a reload that follows its approval', async () => {
    const asked = await ask()
    await call(['1', 'photograph'])
    await approve(asked.page, true)
    await expect.poll(() => tool(asked.page)?.state).toBe('input-available')
    await asked.page.settled()
    asked.page.close()
    const page = openPage({ id: asked.id, messages: await reload(asked.id), sendAutomaticallyWhen })
    await page.ready()
    await page.chat().addToolOutput({ tool: 'photograph', toolCallId: '1', output: 'a cat' })
    await answer()
    await expect.poll(() => page.lines()[1]).toContain('At nine')
    await expectSame({ page, id: asked.id })
  })

  it('is left out when the user asks something else', async () => {
    const asked = await ask()
    await call(['1', 'locate'])
    await expect.poll(() => tool(asked.page)?.state).toBe('input-available')
    await asked.page.settled()
    void asked.page.chat().sendMessage({ text: 'Never mind.' })
    const { request } = await answer()
    expect(request.messages.at(-2)).toMatchObject({ role: 'tool', content: 'Error: The call was not completed.' })
    await expect.poll(() => asked.page.lines()[3]).toContain('At nine')
    await expectSame(asked)
  })
})

it('an answer with tools is resumed after a reload, also after it went on', async () => {
  const asked = await ask()
  await call(['1', 'locate'])
  await expect.poll(() => tool(asked.page)?.state).toBe('input-available')
  await asked.page.settled()
  void asked.page.chat().addToolOutput({ tool: 'locate', toolCallId: '1', output: 'Ulm' })
  const step = await model.takeAnswer()
  step.say('At ')
  await expect.poll(() => asked.page.lines()[1]).toContain('At ')
  const page = openPage({ id: asked.id, messages: await reload(asked.id), resume: true })
  await page.ready()
  await expect.poll(() => page.chat().status).toBe('streaming')
  step.say('nine.')
  step.end('stop', usage)
  for (const shown of [page, asked.page]) {
    await expect.poll(() => shown.lines()[1]).toContain('At nine.')
    await expectSame({ page: shown, id: asked.id })
  }
})
