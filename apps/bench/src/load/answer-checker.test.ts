import { mockToken } from '@repo/testing/mock-model/settings'
import { describe, expect, it } from 'vitest'
import { createAnswerChecker } from './answer-checker.ts'

const prompt = 'Why? [mock tokens=4 interval=20 clock=1]'
const tokens = [0, 1, 2, 3].map((index) => mockToken(prompt, index))
const clocked = tokens.map((token, index) => (index === 0 ? `@5000000 ${token}` : token))
const delta = (text: string) => `id: a.1\ndata: {"type":"text-delta","id":"0","delta":"${text}"}\n\n`
const start = 'data: {"type":"start","messageId":"a"}\n\ndata: {"type":"text-start","id":"0"}\n\n'
const end = 'data: {"type":"text-end","id":"0"}\n\ndata: {"type":"finish"}\n\ndata: [DONE]\n\n'
const whole = (deltas: string[]) => start + deltas.map(delta).join('') + end

/** Returns the verdict on a stream that arrives in pieces of `size` characters, and its tokens. */
function check(stream: string, size = stream.length) {
  const seen: [number, number][] = []
  const { read, judge } = createAnswerChecker(prompt, 4, (...token) => seen.push(token))
  for (let at = 0; at < stream.length; at += size) read(stream, at, Math.min(at + size, stream.length))
  return { verdict: judge(), seen }
}

describe('an answer', () => {
  it('is correct if every byte is, however it is split, and reports each token with the start of its schedule', () => {
    const seen = [0, 1, 2, 3].map((index) => [index, 5000])
    for (const size of [1, 2, 7, 64, 10_000]) expect(check(whole(clocked), size)).toEqual({ verdict: undefined, seen })
  })

  it('is correct if tokens share a delta, or are split across two', () => {
    expect(check(whole([clocked.join('')])).verdict).toBeUndefined()
    expect(check(whole([...clocked.join('')])).verdict).toBeUndefined()
  })

  it('is correct with comments in between', () => {
    expect(check(start + clocked.map(delta).join(': heartbeat\n\n') + end).verdict).toBeUndefined()
  })

  const wrong: [string, string[]][] = [
    ['one wrong byte', clocked.with(2, tokens[2]?.replace(/.$/, 'x') ?? '')],
    ['a missing token', clocked.toSpliced(1, 1)],
    ['a missing last token', clocked.slice(0, -1)],
    ['a repeated token', clocked.toSpliced(2, 0, tokens[2] ?? '')],
    ['a repeated last token', [...clocked, tokens[3] ?? '']],
    ['two tokens in the wrong order', clocked.with(1, tokens[2] ?? '').with(2, tokens[1] ?? '')],
    ['the tokens of another prompt', clocked.map((token) => token.replace(/\w{6}-/, 'ffffff-'))],
    ['no clock', tokens],
    ['no text', []],
  ]
  for (const [what, deltas] of wrong) {
    it(`is wrong with ${what}`, () => expect(check(whole(deltas)).verdict).toBe('wrong bytes'))
  }

  it('is wrong with a token after the end', () => {
    expect(check(whole(clocked) + delta(' more')).verdict).toBe('wrong bytes')
  })

  it('is a broken stream without its last byte', () => {
    expect(check(whole(clocked).slice(0, -1)).verdict).toBe('broken stream')
    expect(check(start + clocked.map(delta).join('')).verdict).toBe('broken stream')
  })

  it('has failed if it contains an error, with the reason given', () => {
    const failed = 'data: {"type":"error","errorText":"no model"}\n\ndata: [DONE]\n\n'
    expect(check(start + delta(clocked[0] ?? '') + failed).verdict).toBe('answer failed: no model')
  })
})
