import type { ChatMessage, Passage } from '@repo/llm'
import { readQuestion } from './question.ts'
import type { Quote } from './quotes.ts'
import { chooseQuotes } from './rank.ts'

const note = '(Offline answer: sentences quoted from your documents. Set CHAT_MODEL to use a language model.)'

/**
 * Answers the last user message with cited quotes from the passages, or says that the documents do not say. `question` is
 * that message without the passages that it quotes.
 */
export function composeAnswer(messages: ChatMessage[], passages: Passage[], question?: string): string {
  const chosen = chooseQuotes(readQuestion(messages, question), passages)
  if (chosen.length > 0) return `${chosen.map(cite).join('')}\n\n${note}`
  return `${passages.length > 0 ? 'The documents do not say.' : 'There are no documents to answer from yet.'}\n\n${note}`
}

/** Neighbouring quotes of one passage share a citation. */
function cite({ n, text }: Quote, index: number, all: Quote[]): string {
  const next = all[index + 1]
  if (next?.n === n) return /[.!?。]$/.test(text) ? `${text} ` : `${text}\n`
  return `${text}${text.endsWith('```') ? '\n' : ' '}[${n}]${next ? '\n\n' : ''}`
}
