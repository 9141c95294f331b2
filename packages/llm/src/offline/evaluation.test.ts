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

describe.each([
  { part: 'tuned', answerable: questions.tunedAnswerable, unanswerable: questions.tunedUnanswerable },
  { part: 'held-out', answerable: questions.heldOutAnswerable, unanswerable: questions.heldOutUnanswerable },
])('$part questions over fourteen documents', ({ part, answerable, unanswerable }) => {
  it('quotes the right sentence for at least 85 % of those that the documents answer', ({ annotate }) => {
    const failed = findUnanswered(answerable)
    void annotate(
      `${part}: ${answerable.length - failed.length} of ${answerable.length} answered; not: ${failed.join(' | ')}`,
    )
    expect(failed.length, failed.join('\n')).toBeLessThanOrEqual(0.15 * answerable.length)
  })

  it('says that the documents do not say for at least 90 % of the others', ({ annotate }) => {
    const failed = findInvented(unanswerable)
    void annotate(
      `${part}: ${unanswerable.length - failed.length} of ${unanswerable.length} silent; not: ${failed.join(' | ')}`,
    )
    expect(failed.length, failed.join('\n')).toBeLessThanOrEqual(0.1 * unanswerable.length)
  })
})
