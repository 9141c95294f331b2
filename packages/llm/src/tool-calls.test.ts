import { describe, expect, it } from 'vitest'
import type { AnswerEvent } from './llm.ts'
import { createToolCallReader } from './tool-calls.ts'

type Delta = Record<string, unknown>
const call = (delta: Delta) => ({ tool_calls: [delta] })

/** Returns the calls that a reader assembles, with generated ids as `call_…`. */
function assemble(deltas: Delta[], isCutOff = false) {
  const reader = createToolCallReader()
  const events: AnswerEvent[] = []
  for (const delta of deltas) reader.read(delta, events)
  const calls = reader.end(isCutOff).flatMap((event) => (event.type === 'tool-call' ? event : []))
  const started = events.flatMap((event) => (event.type === 'tool-input-start' ? event.toolCallId : []))
  expect(calls.every(({ toolCallId }) => started.includes(toolCallId))).toBe(true)
  return calls.map(({ toolCallId, toolName, input }) => [
    toolCallId.replace(/^call_[\w-]{36}$/, 'call_…'),
    toolName,
    input,
  ])
}

const both = [
  ['a', 'add', '{"a":1}'],
  ['b', 'find', '{"q":"é"}'],
]

describe('tool calls of', () => {
  it('OpenAI and Azure: the arguments come in many deltas, by index', () => {
    const deltas = [
      { role: 'assistant', content: null },
      call({ index: 0, id: 'a', type: 'function', function: { name: 'add', arguments: '' } }),
      call({ index: 0, function: { arguments: '{"a"' } }),
      call({ index: 1, id: 'b', type: 'function', function: { name: 'find', arguments: '' } }),
      call({ index: 0, function: { arguments: ':1}' } }),
      call({ index: 1, function: { arguments: '{"q":"é"}' } }),
    ]
    expect(assemble(deltas)).toEqual(both)
  })

  it('Mistral: whole calls in one delta', () => {
    const toolCalls = [
      { id: 'a', function: { name: 'add', arguments: '{"a":1}' }, index: 0 },
      { id: 'b', function: { name: 'find', arguments: '{"q":"é"}' }, index: 1 },
    ]
    expect(assemble([{ content: '', tool_calls: toolCalls }])).toEqual(both)
  })

  it('Ollama: every call has index 0', () => {
    const deltas = [
      call({ index: 0, id: 'a', type: 'function', function: { name: 'add', arguments: '{"a":1}' } }),
      call({ index: 0, id: 'b', type: 'function', function: { name: 'find', arguments: '{"q":"é"}' } }),
    ]
    expect(assemble(deltas)).toEqual(both)
  })

  it('Gemini: neither index nor id', () => {
    const deltas = [
      call({ id: '', type: 'function', function: { name: 'add', arguments: '{"a":1}' } }),
      call({ id: '', type: 'function', function: { name: 'add', arguments: '{"a":1}' } }),
    ]
    expect(assemble(deltas)).toEqual([
      ['call_…', 'add', '{"a":1}'],
      ['call_…', 'add', '{"a":1}'],
    ])
  })

  it('vLLM: the id and the name are repeated in each delta, or the id changes', () => {
    const repeated = ['{"a"', ':1}'].map((part) =>
      call({ index: 0, id: 'a', function: { name: 'add', arguments: part } }),
    )
    expect(assemble(repeated)).toEqual([['a', 'add', '{"a":1}']])
    const changing = ['a', 'x', 'y'].map((id, n) =>
      call({ index: 0, id, function: { ...(n === 0 && { name: 'add' }), arguments: ['', '{"a"', ':1}'][n] } }),
    )
    expect(assemble(changing)).toEqual([['a', 'add', '{"a":1}']])
  })

  it('servers that send the arguments as an object, or none', () => {
    const deltas = [
      call({ index: 0, id: 'a', function: { name: 'add', arguments: { a: 1 } } }),
      call({ index: 1, id: 'b', function: { name: 'now', arguments: null } }),
    ]
    expect(assemble(deltas)).toEqual([
      ['a', 'add', '{"a":1}'],
      ['b', 'now', '{}'],
    ])
  })

  it('servers that give two calls the same id', () => {
    const deltas = [
      call({ index: 0, id: 'a', function: { name: 'add', arguments: '{"a":1}' } }),
      call({ index: 1, id: 'c', function: { name: 'find', arguments: '{}' } }),
    ]
    expect(assemble(deltas).map(([id]) => id)).toEqual(['a', 'c'])
  })

  it('the older API: one call of a function', () => {
    const deltas = [{ function_call: { name: 'add', arguments: '' } }, { function_call: { arguments: '{"a":1}' } }]
    expect(assemble(deltas)).toEqual([['call_…', 'add', '{"a":1}']])
  })

  it('a model that was cut off: the incomplete call is left out, complete ones stay', () => {
    const deltas = [
      call({ index: 0, id: 'a', function: { name: 'add', arguments: '{"a":1}' } }),
      call({ index: 1, id: 'b', function: { name: 'find', arguments: '{"q":"é' } }),
    ]
    expect(assemble(deltas, true)).toEqual([both[0]])
    expect(assemble(deltas, false)).toHaveLength(2)
  })

  it('servers that send something else', () => {
    for (const odd of [null, 'add', [null], [{}], [{ function: 'add' }], [{ id: 5, function: { name: 5 } }]])
      expect(assemble([{ tool_calls: odd }])).toEqual([])
  })
})
