import type { ChatMessage } from '@repo/llm'
import { findRoot, fold, isGerman, keepContentWords, readWords } from './words.ts'

/** A word that the answer should contain. */
type Term = { word: string; root: string; weight: number }
export type Question = {
  text: string
  terms: Term[]
  /** Matches a sentence that answers this kind of question: one with a reason, a number or a time. */
  wanted: RegExp | undefined
}

const maxTerms = 24
const maxQuestionLength = 1000
const borrowedWeight = 0.25
const verbWeight = 0.6 // of a German question: documents often use another verb
const pointedWeight = 0.3

/** `This project`: documents rarely call themselves so. */
const pointedPattern = /(?<!\p{L})(?:this|these|diese[mnrs]?|cette|este|esta)\s+([\p{L}\p{N}]+)/giu

/** What kind of answer a question asks for, and what shows that a sentence gives it. */
const kinds = [
  {
    asks: phrases('why|how come|what for|reasons?|warum|wieso|weshalb|wozu|pourquoi|por qué'),
    wanted: phrases(
      'because|since|so that|otherwise|due to|in order to|to (?:avoid|prevent)|therefore|hence|reasons?|weil|da|damit|sonst|denn|deshalb|wegen|car|afin|parce qu|porque',
    ),
  },
  {
    asks: phrases(
      'how (?:long|much|many|old|high|far|fast|often|big|late|soon)|when|what time|wie (?:lange?|viele?|oft|hoch|alt)|wann|combien|quand|cu[aá]nt[oa]s?|cu[aá]ndo',
    ),
    wanted: phrases(
      '\\d.*|one|two|three|four|five|six|seven|eight|nine|ten|twelve|once|twice|every|each|daily|free|before|after|until|eins?|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|einmal|täglich|nach|vor|bis|deux|trois|dix|quinze',
    ),
  },
]

/** Whole words or phrases; `\b` would only know ASCII. */
function phrases(words: string): RegExp {
  return new RegExp(`(?<![\\p{L}\\p{N}])(?:${words})(?![\\p{L}\\p{N}])`, 'iu')
}

/**
 * What the last user message asks. `question` is that message without the passages that it quotes. A follow-up of one
 * word or none borrows words from the question before it.
 */
export function readQuestion(messages: ChatMessage[], question?: string): Question {
  const asked = messages.filter(({ role }) => role === 'user').map(({ content }) => content.slice(-maxQuestionLength))
  const text = question?.slice(-maxQuestionLength) ?? asked.at(-1) ?? ''
  const own = readTerms(text, 1)
  const earlier = own.length <= 1 ? readTerms(asked.at(-2) ?? '', borrowedWeight) : []
  return { text, terms: [...own, ...earlier], wanted: kinds.find(({ asks }) => asks.test(text))?.wanted }
}

/** Returns what to search for: the last question, and the one before it for a follow-up of one word or none. */
export function toQuery(messages: ChatMessage[]): string {
  const asked = messages
    .filter(({ role }) => role === 'user')
    .map(({ content }) => content.slice(-maxQuestionLength / 2))
  const last = asked.at(-1) ?? ''
  return readTerms(last, 1).length <= 1 ? [last, ...asked.slice(-2, -1)].join(' ') : last
}

function readTerms(text: string, weight: number): Term[] {
  const words = readWords(text)
  const nouns = isGerman(words) ? new Set((text.match(/\p{Lu}[\p{L}\p{N}]*/gu) ?? []).map(fold)) : undefined
  const pointed = new Set(Array.from(text.matchAll(pointedPattern), ([, word = '']) => fold(word)))
  const weigh = (word: string) => (pointed.has(word) ? pointedWeight : nouns?.has(word) === false ? verbWeight : 1)
  return [...new Set(keepContentWords(words))]
    .slice(0, maxTerms)
    .map((word) => ({ word, root: findRoot(word), weight: weight * weigh(word) }))
}
