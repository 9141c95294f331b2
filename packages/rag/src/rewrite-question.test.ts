import { expect, it } from 'vitest'
import { rewriteQuestion } from './rewrite-question.ts'

const earlier = 'How long does express delivery take?'

it.each(['How do I reset my password?', 'pooling', 'Express delivery', 'Wie lange gibt es Garantie?', ''])(
  'searches a question that stands alone as it is: %j',
  (question) => expect(rewriteQuestion([earlier, question])).toBe(question),
)

it.each([
  'and how much?',
  'What will it cost?',
  'Why?',
  'Who pays?',
  'Wie viel kostet er?',
  'Und warum?',
  '它多少钱？',
])('searches a follow-up together with the question before it: %j', (question) =>
  expect(rewriteQuestion([earlier, question])).toBe(`${question} ${earlier}`),
)

it('looks past a question that names no subject either', () => {
  expect(rewriteQuestion([earlier, 'Und warum?', 'Why?'])).toBe(`Why? ${earlier}`)
})

it('leaves a first question and an empty conversation as they are', () => {
  expect(rewriteQuestion(['And what does it cost?'])).toBe('And what does it cost?')
  expect(rewriteQuestion([])).toBe('')
})

it('leaves a long question with a pronoun as it is', () => {
  const question = 'Why does PgBouncer need prepared statements by name, and which version of it supports them?'
  expect(rewriteQuestion([earlier, question])).toBe(question)
})
