import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createTestDatabase } from '@repo/db/testing'
import { post, readParts } from '@repo/testing/ui-stream'
import { chunk, sendChunks, startUpstream } from '@repo/testing/upstream'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { findFreePort } from '../local/stack.ts'
import { copyRepository } from './testing.ts'

// Adds a tool to a copy of this repository, starts the copy and lets a model call the tool. new.test.ts checks its code.

const copy = copyRepository()
const test = await createTestDatabase()
const upstream = await startUpstream()
afterAll(async () => {
  copy.remove()
  await test.drop()
})

/** Starts the copy's API as `npm run api` does. It ends after the test. */
async function startApi(): Promise<string> {
  const port = String(await findFreePort())
  const models = { OPENAI_BASE_URL: upstream.url, CHAT_MODEL: 'test', EMBEDDING_MODEL: 'test', RETRIEVAL: 'off' }
  const settings = { DATABASE_URL: test.databaseUrl, AUTH: 'off', CONVERSATION_TITLES: 'question', LOG_LEVEL: 'warn' }
  const api = spawn(process.execPath, [join(copy.directory, 'apps/api/dist/server.js')], {
    cwd: copy.directory,
    env: { ...models, ...settings, PORT: port },
    stdio: 'inherit',
  })
  onTestFinished(async () => {
    if (api.exitCode === null && api.kill('SIGKILL')) await once(api, 'exit')
  })
  const url = `http://127.0.0.1:${port}`
  const isReady = async () => api.exitCode !== null || (await fetch(`${url}/health/ready`).catch(() => undefined))?.ok
  await vi.waitUntil(isReady, { timeout: 120_000, interval: 50 })
  return url
}

describe('a tool that was added with `npm run new -- tool count-words`', () => {
  it('is two files, which it reports', async () => {
    const { status, output } = await copy.run('npm run --silent new -- tool count-words')
    expect(status, output).toBe(0)
    const { output: changes } = await copy.run('git status --porcelain --untracked-files=all')
    const files = ['apps/api/src/tools/count-words.test.ts', 'apps/api/src/tools/count-words.ts']
    expect(changes).toBe(files.map((file) => `?? ${file}\n`).join(''))
    for (const file of files) expect(output).toContain(`${file}: `)
  })

  it('passes its test', async () => {
    const { status, output } = await copy.run('vitest run apps/api/src/tools/count-words.test.ts')
    expect(status, output).toBe(0)
    expect(output).toMatch(/Tests +2 passed/)
  })

  it('is called by the model of a running API, and listed in /docs', async () => {
    const { status, output } = await copy.run('npm run --silent build')
    expect(status, output).toBe(0)
    const url = await startApi()
    const call = { index: 0, id: 'c1', function: { name: 'count_words', arguments: '{"text":"Two words"}' } }
    upstream.next(sendChunks(chunk({ tool_calls: [call] }), chunk({}, 'tool_calls')))
    upstream.next(sendChunks(chunk({ content: 'It has two words.' }), chunk({}, 'stop')))
    const parts = await readParts(await post(`${url}/chat`, {}, { message: 'How long is “Two words”?' }))
    expect(parts.find(({ type }) => type === 'tool-output-available')).toMatchObject({ output: { words: 2 } })
    expect(parts.at(-2)).toMatchObject({ type: 'finish', finishReason: 'stop' })
    const [asked, answered] = upstream.calls.slice(-2).map(({ body }) => Object(body))
    expect(asked.tools).toMatchObject([{ type: 'function', function: { name: 'count_words' } }])
    expect(answered.messages.at(-1)).toEqual({ role: 'tool', tool_call_id: 'c1', content: '{"words":2}' })
    const { paths } = JSON.parse(await (await fetch(`${url}/openapi.json`)).text())
    expect(paths['/chat'].post['x-tools']).toMatchObject([{ name: 'count_words' }])
  })
})
