import type { Passage } from '@repo/llm'
import { describe, expect, it } from 'vitest'
import { composeAnswer } from './answer.ts'
import { heldOutAnswerable, tunedAnswerable } from './fixtures/questions.ts'
import { createRetriever } from './fixtures/retrieve.ts'
import { readQuestion } from './question.ts'
import { chooseQuotes } from './rank.ts'

const ask = (question: string, passages: Passage[]): string =>
  composeAnswer([{ role: 'user', content: question }], passages)
const bodyOf = (answer: string): string => answer.replace(/\n\n\(Offline answer[^\n]*\)$/, '')
const number = (...texts: string[]): Passage[] => texts.map((text, index) => ({ n: index + 1, title: 'Notes', text }))
const lettersOf = (text: string): string => text.replace(/\[\d+\]|```\w*/g, '').replace(/[^\p{L}\p{N}]/gu, '')

const retrieve = createRetriever()
const asked = [...tunedAnswerable, ...heldOutAnswerable].map((row) => row.ask)

describe('composeAnswer', () => {
  it('quotes whole units of the cited passage and never changes a word', () => {
    for (const question of asked) {
      const passages = retrieve(question, 6)
      const chosen = chooseQuotes(readQuestion([{ role: 'user', content: question }]), passages)
      const answer = ask(question, passages)
      for (const { n, text } of chosen) {
        expect(answer).toContain(text)
        expect(lettersOf(passages.find((passage) => passage.n === n)?.text ?? '')).toContain(lettersOf(text))
      }
    }
  })

  it('does not take a text that asks the same for an answer', () => {
    const echo = 'Try it: `ask "Why does the tower lean?"`'
    expect(ask('Why does the tower lean?', number(echo))).toMatch(/^The documents do not say\./)
    expect(ask('Why does the tower lean?', number(echo, 'The tower leans because its ground is soft.'))).toMatch(
      /^The tower leans because its ground is soft\. \[2\]/,
    )
  })

  it('finds what is said of a thing in the sentence after the one that names it', () => {
    const passages = number(
      'Station 1234 lies north of Oslo. It was built in 1853. Its barometer showed 1008 hPa in 1990.',
    )
    expect(ask('When was station 1234 built?', passages)).toContain('It was built in 1853.')
  })

  it('does not take a word for one that begins like it', () => {
    expect(ask('Who is the author?', number('`AUTH=off` is for one machine.'))).toMatch(/^The documents do not say\./)
  })

  it('does not expect the documents to name what the question points at', () => {
    const passages = number('Sluice uses PgBouncer because Postgres cannot carry many connections.')
    expect(ask('Why does this project use PgBouncer?', passages)).toMatch(/^Sluice uses PgBouncer because/)
    expect(ask('Why does this project use Kubernetes?', passages)).toMatch(/^The documents do not say\./)
  })

  it('cites only passages that were given, and ends each passage with its citation', () => {
    for (const question of asked) {
      const passages = retrieve(question, 6).map((passage) => ({ ...passage, n: passage.n + 40 }))
      const body = bodyOf(ask(question, passages))
      if (body.startsWith('The documents do not say.')) continue
      const cited = Array.from(body.matchAll(/\[(\d+)\]/g), ([, n]) => Number(n))
      expect(cited.every((n) => n > 40 && n <= 46)).toBe(true)
      expect(body.split('\n\n').every((quote) => /\[\d+\]$/.test(quote))).toBe(true)
    }
  })

  it('gives the same answer to the same question', () => {
    for (const question of asked)
      expect(ask(question, retrieve(question, 6))).toBe(ask(question, retrieve(question, 6)))
  })

  it('says what it is in the last line', () => {
    expect(ask('pooling', number('Pooling shares connections.'))).toMatch(/\n\n\(Offline answer: .* CHAT_MODEL .*\)$/)
    expect(ask('pooling', [])).toMatch(
      /^There are no documents to answer from yet\.\n\n\(Offline answer: .* CHAT_MODEL .*\)$/,
    )
  })

  it('stays silent when a common word is all that matches', () => {
    const passages = number('The default port of the server is 5432.', 'The server starts in a second.')
    expect(ask('Who painted the server room?', passages)).toContain('The documents do not say.')
  })

  it('does not repeat what two passages both say', () => {
    const sentence = 'Backups are kept for 35 days.'
    expect(bodyOf(ask('How long are backups kept?', number(sentence, `All of it: ${sentence}`, sentence)))).toBe(
      `${sentence} [1]`,
    )
  })

  it('brings the sentence that a pronoun refers to, under one citation', () => {
    const text = 'The tower stands on Maray. It was designed by Alison Forsyth.'
    expect(bodyOf(ask('Who is Alison Forsyth?', number(text)))).toBe(`${text} [1]`)
  })

  it('prefers the sentence that gives a reason when asked why', () => {
    const text =
      'Friday deployments are forbidden. Friday deployments are forbidden because Saturday is free. See the calendar.'
    expect(bodyOf(ask('Why are Friday deployments forbidden?', number(text)))).toContain(
      'because Saturday is free. [1]',
    )
  })
})
