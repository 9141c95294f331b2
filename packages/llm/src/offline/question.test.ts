import { describe, expect, it } from 'vitest'
import { readQuestion, toSearchText } from './question.ts'

const ask = (...questions: string[]) =>
  readQuestion(
    questions.flatMap((content) => [
      { role: 'user', content } as const,
      { role: 'assistant', content: 'Yes.' } as const,
    ]),
  )
const termsOf = (...questions: string[]): string[] => ask(...questions).terms.map(({ word }) => word)

describe('readQuestion', () => {
  it('keeps the words that carry the question, in several languages', () => {
    expect(termsOf('How long are backups kept?')).toEqual(['backups', 'kept'])
    expect(termsOf('Wie oft muss die Brühgruppe gereinigt werden?')).toEqual(['bruhgruppe', 'gereinigt'])
    expect(termsOf('退款需要多长时间？')).toEqual(['退款'])
  })

  it('knows what kind of answer is wanted', () => {
    const cues = ['Why not?', 'How many?', 'Wann?', 'Qui ?', '如何重置密码？', 'pooling'].map(
      (question) => ask(question).cue?.name,
    )
    expect(cues).toEqual(['reason', 'quantity', 'time', 'person', 'steps', undefined])
  })

  it('weighs an identifier more and asks for it as a whole', () => {
    const [term] = ask('What is max_client_conn?').terms
    expect(term).toMatchObject({ word: 'max_client_conn', parts: ['max', 'client', 'conn'] })
    expect(term?.weight).toBeGreaterThan(1)
  })

  it('lets a follow-up borrow the words of the question before', () => {
    expect(termsOf('What is express delivery?', 'and how much does it cost?')).toEqual(['cost', 'express', 'delivery'])
    expect(termsOf('When was the lighthouse automated?', 'Why?')).toEqual(['lighthouse', 'automated'])
    expect(termsOf('What is express delivery?', 'How do I reset my password?')).toEqual(['reset', 'password'])
  })

  it('notices that nothing says what `this` is', () => {
    expect(ask('Who wrote this?').isUnresolved).toBe(true)
    expect(ask('Wie lange gibt es Garantie?').isUnresolved).toBe(false)
    expect(ask('Tell me about the handbook', 'Who wrote this?').isUnresolved).toBe(false)
  })
})

describe('the text to search for', () => {
  it('is the question itself where it stands alone', () => {
    expect(toSearchText(['What is express delivery?', 'How do I reset my password?'])).toBe(
      'How do I reset my password?',
    )
    expect(toSearchText(['And what does it cost?'])).toBe('And what does it cost?')
    expect(toSearchText([])).toBe('')
  })

  it('is a follow-up together with the question that it leans on, as both were written', () => {
    const asked = ['How long is the guarantee?', 'Wie oft muss die Brühgruppe gereinigt werden?', 'Und warum?']
    expect(toSearchText(asked)).toBe('Und warum? Wie oft muss die Brühgruppe gereinigt werden?')
    expect(toSearchText([...asked, 'Why?'])).toBe('Why? Wie oft muss die Brühgruppe gereinigt werden?')
  })
})
