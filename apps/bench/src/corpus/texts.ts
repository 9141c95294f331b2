import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createRandom } from '@repo/testing/random'

type Language = { sentences: string[][]; withRareWord: string[][] }

const collections = fileURLToPath(new URL('../../collections', import.meta.url))
const germanEvery = 10 // documents, because some owners have documents in two languages
const [fewestWords, mostWords] = [75, 120] // of a text; its last sentence makes that about 150
const [fewestPerSpan, mostPerSpan] = [4, 6] // words of each of the two sentences of a question
const rareIn = 3 // sentences at most, so that 0.1 to 1% of the texts contain the word
const skew = 2 // the first sentences are repeated more often than the last ones, as words are in any language

/**
 * Creates a generator of texts and questions from the sentences of the included collections. The same seed creates the
 * same texts.
 */
export function createTexts(seed: number) {
  const random = createRandom(seed)
  const between = (fewest: number, most: number) => fewest + Math.floor(random() * (most - fewest + 1))
  const pick = (sentences: string[][], power = 1) => sentences[Math.floor(random() ** power * sentences.length)] ?? []
  const [english, german, isRare] = readLanguages()

  const writeText = (sentences: string[][]) => {
    const words: string[] = []
    const enough = between(fewestWords, mostWords)
    while (words.length < enough) words.push(...pick(sentences, skew))
    return words.join(' ')
  }
  /** Returns some consecutive words of a sentence, among them the one at `position`. */
  const cut = (sentence: string[], position: number) => {
    const count = between(fewestPerSpan, mostPerSpan)
    const start = Math.max(0, Math.min(position - between(0, count - 1), sentence.length - count))
    return sentence.slice(start, start + count)
  }
  return {
    /** Returns the texts of a document's chunks, 75 to about 150 words each. Documents are numbered from 1. */
    writeDocument: (number: number, chunks: number): string[] => {
      const { sentences } = number % germanEvery === 0 ? german : english
      return Array.from({ length: chunks }, () => writeText(sentences))
    },

    /** Returns a question of 8 to 12 words from two sentences of one language. At least one of the words is rare. */
    ask: (): string => {
      const { sentences, withRareWord } = between(1, germanEvery) === germanEvery ? german : english
      const [first, second] = [pick(withRareWord), pick(sentences)]
      const words = [...cut(first, first.findIndex(isRare)), ...cut(second, between(0, second.length - 1))]
      return words.join(' ').replace(/[.,;:]*$/, '?')
    },
  }
}

/** Returns the sentences of both languages, and whether a word is rare in them. */
function readLanguages(): [Language, Language, (word: string) => boolean] {
  const english = ['postgresql', 'multilingual/en', 'multilingual/identifiers'].flatMap(readSentences)
  const german = readSentences('multilingual/de')
  const counts = new Map<string, number>()
  for (const word of [...english, ...german].flatMap((sentence) => [...new Set(sentence.map(normalize))]))
    counts.set(word, (counts.get(word) ?? 0) + 1)
  const isRare = (word: string) => /\p{L}/u.test(word) && (counts.get(normalize(word)) ?? 0) <= rareIn
  const group = (sentences: string[][]) => ({
    sentences,
    withRareWord: sentences.filter((sentence) => sentence.some(isRare)),
  })
  return [group(english), group(german), isRare]
}

/** Returns the different sentences of a collection as lists of words, without the shortest. */
function readSentences(name: string): string[][] {
  const lines = readFileSync(`${collections}/${name}/corpus.jsonl`, 'utf8').trim().split('\n')
  const sentences = lines.flatMap((line) => {
    const { text }: { text: string } = JSON.parse(line)
    return text.match(/\p{Lu}[^.]{20,300}\./gu) ?? []
  })
  return [...new Set(sentences)].map((text) => text.split(/\s+/)).filter(({ length }) => length >= mostPerSpan)
}

const normalize = (word: string) => word.toLowerCase().replaceAll(/[^\p{L}\p{M}\p{N}]/gu, '')
