import type { ChatMessage, Passage } from '../llm.ts'
import { type Question, readQuestion } from './question.ts'
import type { Candidate } from './score.ts'
import { selectSentences } from './select.ts'
import { fold } from './words.ts'

const note = '(Offline answer: sentences quoted from your documents. Set CHAT_MODEL to use a language model.)'
const noteOnSilence = '(Offline answer without a language model. Set CHAT_MODEL to use one.)'
const maxNamedWords = 3

/** The whole answer to the last user message, quoted from the passages and cited `[n]`, or that they do not say. */
export function composeAnswer(messages: ChatMessage[], passages: Passage[]): string {
  const question = readQuestion(messages)
  const { chosen, missing } = selectSentences(question, passages)
  if (chosen.length > 0) return `${quoteAll(chosen)}\n\n${note}`
  if (passages.length === 0) return `There are no documents to answer from yet.\n\n${noteOnSilence}`
  return `The documents do not say.${explainSilence(question, missing)}\n\n${noteOnSilence}`
}

function explainSilence({ text, terms }: Question, missing: string[]): string {
  if (terms.length === 0) return ' Ask about something that they describe.'
  const asWritten = new Map(text.split(/[^\p{L}\p{N}\p{M}_]+/u).map((word) => [fold(word), word]))
  const named = missing.slice(0, maxNamedWords).map((word) => `“${asWritten.get(word) ?? word}”`)
  return named.length > 0 ? ` Not found in them: ${named.join(', ')}.` : ''
}

/** Neighbours from one passage share a citation; what is not a sentence gets a line of its own. */
function quoteAll(chosen: Candidate[]): string {
  return chosen
    .map(({ n, unit }, index) => {
      const next = chosen[index + 1]
      const citation = next?.n === n ? '' : unit.text.endsWith('```') ? `\n[${n}]` : ` [${n}]`
      const isRunning = next?.unit.kind === 'sentence' && /[.!?。！？؟…"”»)]$/.test(unit.text)
      const gap = next === undefined ? '' : next.n !== n ? '\n\n' : isRunning ? ' ' : '\n'
      return `${unit.text}${citation}${gap}`
    })
    .join('')
}
