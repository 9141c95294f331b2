import { describe, expect, it } from 'vitest'
import { composeAnswer } from './answer.ts'
import * as questions from './fixtures/questions.ts'
import { createRetriever } from './fixtures/retrieve.ts'

const passages = 6
const retrieve = createRetriever()
const ask = (question: string): string =>
  composeAnswer([{ role: 'user', content: question }], retrieve(question, passages))
const clean = (text: string): string => text.replace(/\s*\[\d+\]|`/g, '').replace(/\s+/g, ' ')
const isSilent = (answer: string): boolean => answer.startsWith('The documents do not say.')

const findUnanswered = (table: questions.Answerable[]): string[] =>
  table
    .filter(
      ({ ask: question, expect: quotes }) => !quotes.every((quote) => clean(ask(question)).includes(clean(quote))),
    )
    .map((row) => row.ask)

const findInvented = (table: string[]): string[] => table.filter((question) => !isSilent(ask(question)))

/** `answered`, `silent`: the least share that must be. The later questions were tuned on the least: theirs is what to expect at most. */
describe.each([
  {
    part: 'tuned',
    answerable: questions.tunedAnswerable,
    unanswerable: questions.tunedUnanswerable,
    answered: 0.85,
    silent: 0.9,
  },
  {
    part: 'held-out',
    answerable: questions.heldOutAnswerable,
    unanswerable: questions.heldOutUnanswerable,
    answered: 0.85,
    silent: 0.9,
  },
  {
    part: 'later',
    answerable: questions.laterAnswerable,
    unanswerable: questions.laterUnanswerable,
    answered: 0.65,
    silent: 0.8,
  },
])('$part questions over eighteen documents', ({ part, answerable, unanswerable, answered, silent }) => {
  it(`quotes the right sentence for at least ${100 * answered} % of those that the documents answer`, ({
    annotate,
  }) => {
    const failed = findUnanswered(answerable)
    void annotate(
      `${part}: ${answerable.length - failed.length} of ${answerable.length} answered; not: ${failed.join(' | ')}`,
    )
    expect(failed.length, failed.join('\n')).toBeLessThanOrEqual((1 - answered) * answerable.length)
  })

  it(`says that the documents do not say for at least ${100 * silent} % of the others`, ({ annotate }) => {
    const failed = findInvented(unanswerable)
    void annotate(
      `${part}: ${unanswerable.length - failed.length} of ${unanswerable.length} silent; not: ${failed.join(' | ')}`,
    )
    expect(failed.length, failed.join('\n')).toBeLessThanOrEqual((1 - silent) * unanswerable.length)
  })
})
