import type { Collection } from './collection.ts'

// The constants of BM25Okapi in rank-bm25, which most comparisons use.
const [k1, b, epsilon] = [1.5, 0.75, 0.25]

/** Creates a plain in-memory BM25 ranking of whole documents: lower-case words, without stemming, stop words or chunks. */
export function createBm25({ documents }: Pick<Collection, 'documents'>): (query: string, limit: number) => string[] {
  const indexed = documents.map(({ _id, title, text }) => ({ id: _id, ...countWords(`${title} ${text}`) }))
  const meanLength = indexed.reduce((sum, { length }) => sum + length, 0) / indexed.length
  const postings = new Map<string, { document: (typeof indexed)[number]; count: number }[]>()
  for (const document of indexed) {
    for (const [word, count] of document.counts) {
      const list = postings.get(word)
      if (list) list.push({ document, count })
      else postings.set(word, [{ document, count }])
    }
  }
  const rarities = computeRarities(postings, indexed.length)
  return (query, limit) => {
    const scores = new Map<string, number>()
    for (const word of readWords(query)) {
      for (const { document, count } of postings.get(word) ?? []) {
        const saturation = (count * (k1 + 1)) / (count + k1 * (1 - b + (b * document.length) / meanLength))
        scores.set(document.id, (scores.get(document.id) ?? 0) + (rarities.get(word) ?? 0) * saturation)
      }
    }
    const ranked = [...scores].sort(([, left], [, right]) => right - left)
    return ranked.slice(0, limit).map(([id]) => id)
  }
}

/** Returns the IDF of each word. It would be negative for words in most documents, which get a small part of the mean. */
function computeRarities(postings: Map<string, unknown[]>, total: number): Map<string, number> {
  const rarity = ({ length }: unknown[]) => Math.log((total - length + 0.5) / (length + 0.5))
  const raw = [...postings].map(([word, list]): [string, number] => [word, rarity(list)])
  const mean = raw.reduce((sum, [, value]) => sum + value, 0) / raw.length
  return new Map(raw.map(([word, value]) => [word, value < 0 ? epsilon * mean : value]))
}

function countWords(text: string) {
  const words = readWords(text)
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  return { counts, length: words.length }
}

const unspaced = /[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmr}\p{sc=Mymr}]/u
const segmenter = new Intl.Segmenter('en', { granularity: 'word' })

/** Words are what is between spaces and punctuation, except in languages that do not put spaces between words. */
function readWords(text: string): string[] {
  const runs = text.toLowerCase().match(/[\p{L}\p{N}\p{M}_]+/gu) ?? []
  return runs.flatMap((run) =>
    unspaced.test(run) ? Array.from(segmenter.segment(run), ({ segment }) => segment) : run,
  )
}
