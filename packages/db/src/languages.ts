import { stemmer as arabic } from '@orama/stemmers/arabic'
import { stemmer as danish } from '@orama/stemmers/danish'
import { stemmer as dutch } from '@orama/stemmers/dutch'
import { stemmer as english } from '@orama/stemmers/english'
import { stemmer as finnish } from '@orama/stemmers/finnish'
import { stemmer as french } from '@orama/stemmers/french'
import { stemmer as german } from '@orama/stemmers/german'
import { stemmer as greek } from '@orama/stemmers/greek'
import { stemmer as hungarian } from '@orama/stemmers/hungarian'
import { stemmer as italian } from '@orama/stemmers/italian'
import { stemmer as norwegian } from '@orama/stemmers/norwegian'
import { stemmer as portuguese } from '@orama/stemmers/portuguese'
import { stemmer as romanian } from '@orama/stemmers/romanian'
import { stemmer as russian } from '@orama/stemmers/russian'
import { stemmer as spanish } from '@orama/stemmers/spanish'
import { stemmer as swedish } from '@orama/stemmers/swedish'
import { stemmer as turkish } from '@orama/stemmers/turkish'
import { stopwords as arabicStops } from '@orama/stopwords/arabic'
import { stopwords as danishStops } from '@orama/stopwords/danish'
import { stopwords as dutchStops } from '@orama/stopwords/dutch'
import { stopwords as englishStops } from '@orama/stopwords/english'
import { stopwords as finnishStops } from '@orama/stopwords/finnish'
import { stopwords as frenchStops } from '@orama/stopwords/french'
import { stopwords as germanStops } from '@orama/stopwords/german'
import { stopwords as greekStops } from '@orama/stopwords/greek'
import { stopwords as hungarianStops } from '@orama/stopwords/hungarian'
import { stopwords as italianStops } from '@orama/stopwords/italian'
import { stopwords as norwegianStops } from '@orama/stopwords/norwegian'
import { stopwords as portugueseStops } from '@orama/stopwords/portuguese'
import { stopwords as romanianStops } from '@orama/stopwords/romanian'
import { stopwords as russianStops } from '@orama/stopwords/russian'
import { stopwords as spanishStops } from '@orama/stopwords/spanish'
import { stopwords as swedishStops } from '@orama/stopwords/swedish'
import { stopwords as turkishStops } from '@orama/stopwords/turkish'

type Language = { stem: (word: string) => string; stopWords: Set<string> }

const define = (stem: Language['stem'], stopWords: string[]): Language => ({
  stem,
  stopWords: new Set(stopWords.map(foldAccents)),
})

/** Languages whose words are stemmed (by Snowball) and whose stop words identify a text's language. */
export const languages = {
  arabic: define(arabic, arabicStops),
  danish: define(danish, danishStops),
  dutch: define(dutch, dutchStops),
  english: define(english, englishStops),
  finnish: define(finnish, finnishStops),
  french: define(french, frenchStops),
  german: define(german, germanStops),
  greek: define(greek, greekStops),
  hungarian: define(hungarian, hungarianStops),
  italian: define(italian, italianStops),
  norwegian: define(norwegian, norwegianStops),
  portuguese: define(portuguese, portugueseStops),
  romanian: define(romanian, romanianStops),
  russian: define(russian, russianStops),
  spanish: define(spanish, spanishStops),
  swedish: define(swedish, swedishStops),
  turkish: define(turkish, turkishStops),
} as const
export type LanguageName = keyof typeof languages

export const languageNames = Object.keys(languages) as LanguageName[]
const languagesByStopWord = new Map<string, LanguageName[]>()
for (const name of languageNames)
  for (const word of languages[name].stopWords)
    languagesByStopWord.set(word, [...(languagesByStopWord.get(word) ?? []), name])

/**
 * Returns the languages whose stop words occur most often among the words: usually one, several for a short text. Returns
 * none if there are fewer than two stop words, or fewer than in any real sentence: a word may be a stop word by chance.
 */
export function guessLanguages(words: string[]): LanguageName[] {
  const counts = new Map<LanguageName, number>()
  for (const word of words)
    for (const name of languagesByStopWord.get(foldAccents(word)) ?? []) counts.set(name, (counts.get(name) ?? 0) + 1)
  const most = Math.max(2, words.length / 10, ...counts.values())
  return languageNames.filter((name) => counts.get(name) === most)
}

/** Lists of stop words do not agree on accents, or on the Greek sigma at the end of a word. */
export function foldAccents(word: string): string {
  if (isAscii(word)) return word
  return word
    .normalize('NFD')
    .replaceAll(/[\u0300-\u036f]/g, '')
    .replaceAll('ς', 'σ')
}

export function isAscii(word: string): boolean {
  return !/[\u0080-\uffff]/.test(word)
}
