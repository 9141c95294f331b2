import { mockAnswer } from '@repo/testing/mock-model/settings'

const delta = '{"type":"text-delta"'
const value = '"delta":"'
const space = 32

/**
 * Reads one answer as a UI message stream, in arbitrary pieces, and compares each character of its text with the mock
 * model's answer to this prompt, which must contain `clock=1`. `onToken` receives the index of each token when its first
 * character arrives, and the scheduled time of the first token by the machine's clock, in ms.
 */
export function createAnswerChecker(prompt: string, tokens: number, onToken: (index: number, startMs: number) => void) {
  const expected = mockAnswer(prompt, tokens)
  let rest = '' // an incomplete event
  let clock = '' // the prefix of the answer: `@` and digits
  let startMs: number | undefined
  let position = 0 // in `expected`
  let index = 0
  let end: 'finish' | 'failed' | 'done' | undefined
  let reason = ''
  let isWrong = false

  const startClock = () => {
    if (!/^@\d+$/.test(clock)) isWrong = true
    startMs = Number(clock.slice(1)) / 1000
    onToken(0, startMs)
  }
  const readText = (text: string, from: number, to: number) => {
    for (let at = from; at < to; at += 1) {
      const code = text.charCodeAt(at)
      if (startMs === undefined) {
        if (code === space) startClock()
        else clock += text.charAt(at)
        continue
      }
      if (code !== expected.charCodeAt(position)) isWrong = true
      position += 1
      if (code !== space) continue
      index += 1
      onToken(index, startMs)
    }
  }
  const readEvent = (text: string, from: number, to: number) => {
    const data = text.indexOf('data: ', from) + 'data: '.length
    if (data < from + 6 || data > to) return // a comment
    if (end === 'done' || (end && !text.startsWith('[DONE]', data))) isWrong = true
    if (text.startsWith(delta, data)) {
      const start = text.indexOf(value, data) + value.length
      readText(text, start, text.indexOf('"', start))
    } else if (text.startsWith('{"type":"finish"', data)) end = 'finish'
    else if (text.startsWith('{"type":"error"', data) || text.startsWith('{"type":"abort"', data)) {
      end = 'failed'
      reason = /"(?:errorText|reason)":"([^"]*)"/.exec(text.slice(data, to))?.[1] ?? 'no reason given'
    } else if (text.startsWith('[DONE]', data)) end = end === 'finish' ? 'done' : (end ?? 'failed')
  }

  return {
    /** Reads `piece` between the two offsets. */
    read: (piece: string, from: number, to: number): void => {
      const isInOne = rest === ''
      const text = isInOne ? piece : rest + piece.slice(from, to)
      const end = isInOne ? to : text.length
      let at = isInOne ? from : 0
      for (let mark = text.indexOf('\n\n', at); mark !== -1 && mark + 2 <= end; mark = text.indexOf('\n\n', at)) {
        readEvent(text, at, mark)
        at = mark + 2
      }
      rest = at === end ? '' : text.slice(at, end)
    },
    /** Returns what is wrong with the answer, after its response has ended. */
    judge: (): string | undefined => {
      if (isWrong) return 'wrong bytes'
      if (end === 'failed') return `answer failed: ${reason}`
      if (end !== 'done' || rest !== '') return 'broken stream'
      return position === expected.length ? undefined : 'wrong bytes'
    },
  }
}
