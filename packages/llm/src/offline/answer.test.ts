import { describe, expect, it } from 'vitest'
import type { Passage } from '../llm.ts'
import { composeAnswer } from './answer.ts'
import { heldOutAnswerable, tunedAnswerable } from './fixtures/questions.ts'
import { createRetriever } from './fixtures/retrieve.ts'
import { readQuestion } from './question.ts'
import { selectSentences } from './select.ts'

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
      const { chosen } = selectSentences(readQuestion([{ role: 'user', content: question }]), passages)
      const answer = ask(question, passages)
      for (const { n, unit } of chosen) {
        expect(answer).toContain(unit.text)
        expect(lettersOf(passages.find((passage) => passage.n === n)?.text ?? '')).toContain(lettersOf(unit.text))
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

  it('does not ask the documents to name what the question points at', () => {
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
    expect(ask('pooling', [])).toBe(
      'There are no documents to answer from yet.\n\n(Offline answer without a language model. Set CHAT_MODEL to use one.)',
    )
  })

  it('names the words that no document holds, as they were written', () => {
    const answer = ask('What is the capital of France?', number('PgBouncer pools connections.'))
    expect(bodyOf(answer)).toBe('The documents do not say. Not found in them: “capital”, “France”.')
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

  it.each([
    [
      'When does the shop close?',
      'The shop was closed in 1990 for a year. The shop is open from 9 a.m. to 6 p.m.',
      '9 a.m.',
    ],
    ['When does the office open?', 'The office is closed since May. The office opens at nine.', 'at nine'],
    ['Wann schließt das Rathaus?', 'Das Rathaus steht seit 1912. Das Rathaus ist von 8 bis 16 Uhr geöffnet.', '16 Uhr'],
    ['À quelle heure ferme la mairie ?', 'La mairie date de 1912. La mairie est ouverte de 8 h à 16 h.', '16 h'],
  ])('answers %j with the hours, and with nothing where there are none', (question, text, end) => {
    const answer = bodyOf(ask(question, number(text)))
    expect(answer).toContain(end)
    expect(answer).not.toContain('19')
    const [past = ''] = text.split(/(?<=\.) /)
    expect(bodyOf(ask(question, number(past)))).toMatch(/^The documents do not say\./)
  })

  it('finds what a German question says with a verb and the text with a noun, or in a compound', () => {
    const text = 'Kauf und Lieferung regelt § 3. Die Fensterreinigung übernimmt der Vermieter. Der Keller ist trocken.'
    expect(bodyOf(ask('Wer reinigt die Fenster?', number(text)))).toBe(
      'Die Fensterreinigung übernimmt der Vermieter. [1]',
    )
    expect(bodyOf(ask('Wer streicht die Fenster?', number('Der Keller ist trocken.')))).toMatch(/^The documents do not/)
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
