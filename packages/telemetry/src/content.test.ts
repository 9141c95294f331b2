import type { ChatMessage } from '@repo/llm'
import { expect, it } from 'vitest'
import { collectOutput, listChatParts, writeMessages, writeValue } from './content.ts'

const limit = 16_000
const say = (content: string): ChatMessage => ({ role: 'user', content })
const write = (...messages: ChatMessage[]) => JSON.parse(writeMessages(messages, listChatParts))

it('keeps the newest messages of a long prompt, and the beginning of a long text', () => {
  const messages = write(say('first'), say('a'.repeat(limit)), say('last'))
  expect(messages.map(({ parts }: { parts: { content: string }[] }) => parts[0]?.content.length)).toEqual([
    limit - 'last'.length - 2 * 50,
    'last'.length,
  ])
})

it.each([
  ['a long message', () => writeMessages([say('é'.repeat(1e6))], listChatParts)],
  [
    'many messages',
    () =>
      writeMessages(
        Array.from({ length: 1e5 }, () => say('a')),
        listChatParts,
      ),
  ],
  [
    'many images',
    () => writeMessages([{ role: 'user', content: '', images: Array(1e5).fill(async () => '') }], listChatParts),
  ],
  ['a long name', () => writeMessages([{ role: 'tool', content: '', toolCallId: 'a'.repeat(1e6) }], listChatParts)],
  ['a long result', () => writeValue(['a'.repeat(1e6)])],
  [
    'a long answer',
    () => {
      const output = collectOutput()
      for (let n = 0; n < 1e5; n += 1) output.add({ type: n % 2 ? 'text-delta' : 'reasoning-delta', text: 'a' })
      return output.write()
    },
  ],
])('limits %s', (_, produce) => {
  expect(produce().length).toBeGreaterThan(200)
  expect(produce().length).toBeLessThan(2 * limit)
})

it('omits the bytes of images', () => {
  const image = () => Promise.reject(new Error('must not be read'))
  expect(write({ role: 'user', content: 'What is this?', images: [image] })).toEqual([
    { role: 'user', parts: [{ type: 'image' }, { type: 'text', content: 'What is this?' }] },
  ])
})

it('says of an answer that was cut off what it has', () => {
  const output = collectOutput()
  output.add({ type: 'text-delta', text: 'It op' })
  expect(JSON.parse(output.write())).toEqual([
    { role: 'assistant', parts: [{ type: 'text', content: 'It op' }], finish_reason: 'other' },
  ])
})
