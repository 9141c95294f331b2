import { describe, expect, it } from 'vitest'
import { type CompletionEnd, createDeltaScanner } from './raw-deltas.ts'
import { toBytes, toText } from './raw-text.ts'

const words = ['He said "no"', ' \\ and \\"', '\n\t€ 😀', '{"content":"', ' é']
const event = (data: object) => `data: ${JSON.stringify(data)}\n\n`
const choice = (delta: object, finish_reason: string | null = null) =>
  event({ choices: [{ index: 0, delta, finish_reason }] })

function scan(...reads: string[]) {
  const end: CompletionEnd = { finishReason: null, inputTokens: null, outputTokens: null }
  const deltas: string[] = []
  const push = createDeltaScanner(end, (escaped) => deltas.push(JSON.parse(`"${toText(escaped)}"`)))
  for (const bytes of reads) push(bytes)
  return { deltas, end }
}

describe('the delta scanner', () => {
  const stream = toBytes(
    [
      choice({ role: 'assistant', content: '' }),
      ...words.map((content) => choice({ content })),
      choice({ content: 'last' }, 'stop'),
      event({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 6 } }),
      'data: [DONE]\n\n',
    ].join(''),
  )
  const whole = { deltas: [...words, 'last'], end: { finishReason: 'stop', inputTokens: 7, outputTokens: 6 } }

  it('finds each piece of text and the end of the answer', () => {
    expect(scan(stream)).toEqual(whole)
  })

  it('finds the same however the bytes are split', () => {
    for (let cut = 1; cut < stream.length; cut += 1)
      expect(scan(stream.slice(0, cut), stream.slice(cut))).toEqual(whole)
    expect(scan(...stream)).toEqual(whole)
  })

  it('reads text at another position in its delta', () => {
    expect(scan(toBytes(choice({ role: 'assistant', content: 'ö"' }))).deltas).toEqual(['ö"'])
  })

  it('throws if the model reports an error', () => {
    expect(() => scan(event({ error: { message: 'overloaded' } }))).toThrow('the model reported an error')
  })
})
