import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { chunk, completion, sendChunks, sendJson, startUpstream, usageChunk } from '@repo/testing/upstream'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { testApp } from '../../testing.ts'

// Clients that are too large to be installed with this repository: 130 MB. They run unmodified, in processes of their own.

const packages = ['@openai/agents@0.20.0', '@langchain/openai@1.6.0', '@langchain/core@1.4.0', 'zod@4.6.7']
const run = promisify(execFile)
const directory = mkdtempSync(join(tmpdir(), 'clients-'))
const upstream = await startUpstream()
const { alice, listen, close } = await testApp({ environment: { OPENAI_BASE_URL: upstream.url, CHAT_MODEL: 'm' } })
const url = await listen()
let whyMissing = ''

beforeAll(async () => {
  writeFileSync(join(directory, 'package.json'), '{"private":true,"type":"module"}')
  const options = ['install', '--no-audit', '--no-fund', '--prefer-offline', ...packages]
  await run('npm', options, { cwd: directory }).catch(() => {
    whyMissing = 'the npm registry cannot be reached'
  })
})
afterAll(async () => {
  await close()
  rmSync(directory, { recursive: true, force: true })
})

const environment = {
  ...process.env,
  OPENAI_BASE_URL: `${url}/v1`,
  OPENAI_API_KEY: alice.authorization.replace('Bearer ', ''),
  OPENAI_AGENTS_DISABLE_TRACING: '1',
}

/** Runs a program in the folder of the clients. Returns its last line, which must be JSON. */
async function runProgram(program: string) {
  writeFileSync(join(directory, 'program.mjs'), program)
  const { stdout } = await run(process.execPath, ['program.mjs'], { cwd: directory, env: environment })
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
}

const call = { id: 'call_1', type: 'function', function: { name: 'lookup', arguments: '{"n":1}' } }
const listRoles = (index: number) =>
  Object(upstream.calls.at(index)?.body)
    .messages.map(Object)
    .map(({ role }: { role: string }) => role)

it('the Agents SDK of OpenAI runs a tool', async ({ skip }) => {
  skip(whyMissing !== '', whyMissing)
  upstream.next(sendJson(completion({ content: null, tool_calls: [call] }, 'tool_calls')))
  upstream.next(sendJson(completion({ content: 'At nine.' })))
  const output = await runProgram(`
    import { Agent, run, tool } from '@openai/agents'
    import { z } from 'zod'
    const parameters = z.object({ n: z.number() })
    const lookup = tool({ name: 'lookup', description: 'Finds hours', parameters, execute: async ({ n }) => 'hour ' + n })
    const agent = new Agent({ name: 'Porter', model: 'm', instructions: 'Be short.', tools: [lookup] })
    const { finalOutput } = await run(agent, 'When?')
    console.log(JSON.stringify(finalOutput))`)
  expect(output).toBe('At nine.')
  expect(listRoles(-1)).toEqual(['system', 'user', 'assistant', 'tool'])
})

it('LangChain invokes, streams and binds tools', async ({ skip }) => {
  skip(whyMissing !== '', whyMissing)
  upstream.next(sendJson(completion({ content: 'At nine.' })))
  upstream.next(sendChunks(chunk({ content: 'At ' }), chunk({ content: 'nine.' }), chunk({}, 'stop'), usageChunk))
  upstream.next(sendJson(completion({ content: null, tool_calls: [call] }, 'tool_calls')))
  const output = await runProgram(`
    import { tool } from '@langchain/core/tools'
    import { ChatOpenAI } from '@langchain/openai'
    import { z } from 'zod'
    const model = new ChatOpenAI({ model: 'm', useResponsesApi: true, maxRetries: 0 })
    const invoked = (await model.invoke('When?')).text
    let streamed = ''
    for await (const chunk of await model.stream('When?')) streamed += chunk.text
    const lookup = tool(async () => 'nine', { name: 'lookup', description: 'Finds hours', schema: z.object({ n: z.number() }) })
    const { tool_calls } = await model.bindTools([lookup]).invoke('When?')
    console.log(JSON.stringify({ invoked, streamed, tool_calls }))`)
  expect(output).toMatchObject({
    invoked: 'At nine.',
    streamed: 'At nine.',
    tool_calls: [{ name: 'lookup', args: { n: 1 }, id: 'call_1' }],
  })
})

it('the Python client creates, streams and calls functions', async ({ skip }) => {
  const hasClient = await run('python3', ['-c', 'import openai; openai.OpenAI(api_key="a").responses']).then(
    () => true,
    () => false,
  )
  skip(!hasClient, 'python3 has no package openai with responses (on Debian 13: apt-get install python3-openai)')
  upstream.next(sendJson(completion({ content: 'At nine.' })))
  upstream.next(sendChunks(chunk({ content: 'At ' }), chunk({ content: 'nine.' }), chunk({}, 'stop'), usageChunk))
  upstream.next(sendJson(completion({ content: null, tool_calls: [call] }, 'tool_calls')))
  upstream.next(sendJson(completion({ content: 'At nine.' })))
  const { stdout } = await run('python3', ['-c', pythonProgram], { env: environment })
  expect(JSON.parse(stdout)).toEqual(['At nine.', 'At nine.', 'lookup', 'At nine.'])
  expect(listRoles(-1)).toEqual(['system', 'user', 'assistant', 'tool'])
})

const pythonProgram = `
import json
from openai import OpenAI
client = OpenAI(max_retries=0)
created = client.responses.create(model="m", input="When?")
streamed = "".join(event.delta for event in client.responses.create(model="m", input="When?", stream=True) if event.type == "response.output_text.delta")
tools = [{"type": "function", "name": "lookup", "parameters": {"type": "object"}, "strict": False}]
asked = [{"role": "user", "content": "When?"}]
first = client.responses.create(model="m", input=asked, tools=tools)
call = first.output[0]
asked += first.output + [{"type": "function_call_output", "call_id": call.call_id, "output": "nine"}]
last = client.responses.create(model="m", input=asked, tools=tools)
print(json.dumps([created.output_text, streamed, call.name, last.output_text]))
`
