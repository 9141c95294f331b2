import { expect, it } from 'vitest'
import { readQuestion } from './question.ts'

const ask = (...questions: string[]) =>
  readQuestion(
    questions.flatMap((content) => [
      { role: 'user', content } as const,
      { role: 'assistant', content: 'Yes.' } as const,
    ]),
  )
const listWords = (...questions: string[]) => ask(...questions).terms.map(({ word }) => word)

it('keeps the words that carry the question, in several languages', () => {
  expect(listWords('How long are backups kept?')).toEqual(['backups', 'kept'])
  expect(listWords('Wie oft muss die Brühgruppe gereinigt werden?')).toEqual(['bruhgruppe', 'gereinigt'])
  expect(listWords('退款需要多长时间？')).toEqual(['退款'])
})

it('weighs a German noun more than a verb, which documents often replace', () => {
  const [noun, verb] = ask('Wie oft muss die Brühgruppe gereinigt werden?').terms
  expect(noun?.weight).toBeGreaterThan(verb?.weight ?? Infinity)
})

it('knows which kind of answer is wanted', () => {
  expect(ask('Why not?').wanted?.test('Because it is late.')).toBe(true)
  expect(ask('Why not?').wanted?.test('It is late.')).toBe(false)
  expect(ask('How long is it?').wanted?.test('It is 3 m long.')).toBe(true)
  expect(ask('pooling').wanted).toBeUndefined()
})

it('adds words of the previous question to a follow-up, with less weight', () => {
  const follow = ask('What is express delivery?', 'and how much does it cost?').terms
  expect(follow.map(({ word, weight }) => [word, weight === 1])).toEqual([
    ['cost', true],
    ['express', false],
    ['delivery', false],
  ])
  expect(listWords('When was the lighthouse automated?', 'Why?')).toEqual(['lighthouse', 'automated'])
  expect(listWords('What is express delivery?', 'How do I reset my password?')).toEqual(['reset', 'password'])
})
