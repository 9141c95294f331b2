import type { PastMessage } from '@repo/db'
import type { ChatMessage } from '@repo/llm'
import { describe, expect, it } from 'vitest'
import { fitHistory } from './history.ts'

const budget = 12_000

/** Returns messages as the store does, newest first, each with its position in the conversation's text. */
function store(messages: ChatMessage[]): PastMessage[] {
  let start = 0
  const stored = messages.flatMap(({ role, content }) => {
    const message = { content, start, size: Buffer.byteLength(content) }
    start += message.size
    return role === 'user' || role === 'assistant' ? [{ role, ...message }] : []
  })
  return stored.reverse()
}

const question = (n: number, length = 1): ChatMessage => ({
  role: 'user',
  content: `question ${n} `.padEnd(length, '.'),
})
const answer = (n: number, length = 1): ChatMessage => ({
  role: 'assistant',
  content: `answer ${n} `.padEnd(length, '.'),
})
const turns = (from: number, to: number, length = 1) =>
  Array.from({ length: to - from + 1 }, (_, n) => [question(from + n, length), answer(from + n, length)]).flat()
const names = (messages: ChatMessage[]) => messages.map(({ content }) => content.split(' ').slice(0, 2).join(' '))

describe('the history', () => {
  it('contains all turns that fit, oldest first', () => {
    const messages = turns(1, 3, 2000)
    expect(fitHistory(store(messages), budget)).toEqual(messages)
  })

  it('drops half of the budget at once when it is exceeded', () => {
    expect(fitHistory(store(turns(1, 4, 2000)), budget)).toEqual(turns(3, 4, 2000))
    expect(fitHistory(store(turns(1, 5, 2000)), budget)).toEqual(turns(4, 5, 2000))
    expect(fitHistory(store(turns(1, 6, 2000)), budget)).toEqual(turns(4, 6, 2000))
    expect(fitHistory(store(turns(1, 7, 2000)), budget)).toEqual(turns(6, 7, 2000))
  })

  it('stays a prefix of the next turn’s for nine of ten turns, and within the budget', () => {
    const all = turns(1, 200, 300)
    const histories = Array.from({ length: 200 }, (_, n) => fitHistory(store(all.slice(0, 2 * n)), budget))
    const moved = histories.filter((history, n) => {
      const next = histories[n + 1] ?? history
      return JSON.stringify(next.slice(0, history.length)) !== JSON.stringify(history)
    })
    expect(moved.length).toBeGreaterThan(0)
    expect(moved.length).toBeLessThanOrEqual(20)
    const sizes = histories.slice(50).map((history) => history.reduce((sum, { content }) => sum + content.length, 0))
    expect(Math.max(...sizes)).toBeLessThanOrEqual(budget)
    expect(Math.min(...sizes)).toBeGreaterThan(budget / 2 - 600)
  })

  it('always contains the last turn, even if it alone exceeds the budget', () => {
    const messages = [...turns(1, 2), question(3, 13_000), answer(3, 900)]
    expect(names(fitHistory(store(messages), budget))).toEqual(['question 3', 'answer 3'])
    const later = [...messages, question(4), question(5)] // not answered
    expect(names(fitHistory(store(later), budget))).toEqual(['question 3', 'answer 3'])
    expect(names(fitHistory(store([...messages, ...turns(4, 4)]), budget))).toEqual(['question 4', 'answer 4'])
  })

  it('is measured in bytes, because other scripts need more tokens per character', () => {
    const write = (n: number): ChatMessage[] => [question(n), { role: 'assistant', content: '退款'.repeat(1000) }]
    expect(fitHistory(store([...write(1), ...write(2)]), budget)).toEqual(write(2))
  })

  it('omits unanswered questions, so that the roles alternate', () => {
    const messages = [question(1), ...turns(2, 2), question(3), question(4), ...turns(5, 5), question(6)]
    expect(names(fitHistory(store(messages), budget))).toEqual(['question 2', 'answer 2', 'question 5', 'answer 5'])
  })

  it('never starts with an answer whose question did not fit', () => {
    const messages = [question(1, 6500), answer(1, 1000), ...turns(2, 2, 2500)]
    expect(names(fitHistory(store(messages), budget))).toEqual(['question 2', 'answer 2'])
  })

  it('is empty in the first turn', () => {
    expect(fitHistory([], budget)).toEqual([])
    expect(fitHistory(store([question(1)]), budget)).toEqual([])
  })
})
