import { readWords, stem } from './words.ts'

export type Entry = { word: string; stem: string }

/** The different words of a few texts, numbered, so that each is stemmed and compared once. */
export type Lexicon = {
  entries: Entry[]
  /** The numbers of the text's different words and parts of words. The same text gives the same array. */
  read: (text: string) => readonly number[]
}

export function createLexicon(): Lexicon {
  const entries: Entry[] = []
  const numbers = new Map<string, number>()
  const texts = new Map<string, readonly number[]>()

  function numberWord(word: string): number {
    const known = numbers.get(word)
    if (known !== undefined) return known
    numbers.set(word, entries.length)
    return entries.push({ word, stem: stem(word) }) - 1
  }

  function read(text: string): readonly number[] {
    const known = texts.get(text)
    if (known) return known
    const found = new Set<number>()
    for (const { word, parts } of readWords(text)) {
      found.add(numberWord(word))
      for (const part of parts) found.add(numberWord(part))
    }
    const list = [...found]
    texts.set(text, list)
    return list
  }

  return { entries, read }
}
