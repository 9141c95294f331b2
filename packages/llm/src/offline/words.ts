import { createFunctionWords } from './function-words.ts'

/** One token of a text: `word` is folded; `parts` are what a compound such as `max_client_conn` is made of. */
export type Word = { word: string; parts: readonly string[]; isExact: boolean; isName: boolean }

const tokenPattern = /[\p{L}\p{N}\p{M}_]+(?:[.\-'@:/][\p{L}\p{N}_]+)*/gu
// Latin, Greek, Cyrillic, Hebrew and Arabic ones; in other scripts a mark is a letter's better half.
const marks = /[\u0300-\u036f]|[\u0591-\u05c7]|\u0640|[\u064b-\u065f]|\u0670/g
const unspaced = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}]/u
/** Most words by far; they skip what is below. */
const plainWord = /^[A-Za-z][a-z]{0,40}$/
const noParts: readonly string[] = []
const elision = /^(?:\p{L}|qu|jusqu|lorsqu)'/iu
const maxWordLength = 64
const nonAscii = /[^ -~\s]/

/** Case, compatibility forms and accents away, so that `Résumé`, `résumé` and `resume` are one word. */
export function fold(text: string): string {
  return stripMarks(text).toLowerCase().replaceAll('ß', 'ss')
}

function stripMarks(text: string): string {
  if (!nonAscii.test(text)) return text
  return text.normalize('NFKD').replace(marks, '').replaceAll('’', "'").normalize('NFC')
}

/** Chinese, Japanese, Thai: no spaces between words, so that words must be looked for inside a run of letters. */
export function isUnspaced(word: string): boolean {
  return unspaced.test(word)
}

/** The tokens of a text in order. Linear in its length; a run without spaces stays one token. */
export function readWords(text: string): Word[] {
  return (stripMarks(text).match(tokenPattern) ?? []).map(readWord)
}

function readWord(token: string): Word {
  if (plainWord.test(token)) return { word: token.toLowerCase(), parts: noParts, isExact: false, isName: token < 'a' }
  const plain = token.slice(0, maxWordLength).replace(elision, '').replace(/'.*$/, '')
  const isNumber = /^[\d.,:/-]+$/.test(plain)
  const isExact = !isNumber && /_|\d|\p{L}[.@/]\p{L}|^\p{Ll}+\p{Lu}/u.test(plain)
  const word = plain.toLowerCase().replaceAll('ß', 'ss')
  const parts = isNumber ? noParts : word.split(/[_.\-@:/]+/).filter((part) => part !== '' && part !== word)
  return { word, parts, isExact, isName: /^\p{Lu}/u.test(plain) }
}

/** The words inside a run of a script without spaces; the dictionary is ICU's. */
export function segmentRun(run: string): string[] {
  return Array.from(wordSegmenter.segment(run)).flatMap(({ segment, isWordLike }) => (isWordLike ? [segment] : []))
}

const wordSegmenter = new Intl.Segmenter(undefined, { granularity: 'word' })
const functionWords = createFunctionWords(fold)
const germanWords = functionWords.find((list) => list.has('nicht')) ?? new Set<string>()
const anyFunctionWord = new Set(functionWords.flatMap((words) => [...words]))

/** Whether the word is a function word in any of the languages; `die` and `war` are, whatever the text. */
export function isFunctionWord(word: string): boolean {
  return anyFunctionWord.has(word)
}

/** The function words of the language these words seem to be in: German `die` is one, English `die` is not. */
export function pickFunctionWords(words: string[]): ReadonlySet<string> {
  const counts = functionWords.map((list) => words.filter((word) => list.has(word)).length)
  const best = Math.max(...counts)
  return new Set(functionWords.flatMap((list, index) => (counts[index] === best ? [...list] : [])))
}

/** Whether more of these words are function words of German than of any other language. */
export function isGerman(words: string[]): boolean {
  const count = (list: ReadonlySet<string>) => words.filter((word) => list.has(word)).length
  return functionWords.every((list) => list === germanWords || count(list) < count(germanWords))
}

const irregular = new Map(
  `kept keep paid pay built build sent send ran run held hold lent lend lost lose left leave wrote write written write
   went go gone go came come took take taken take given give gave give began begin begun begin bought buy sold sell
   chose choose chosen choose driven drive drove drive forgot forget forgotten forget grew grow grown grow hid hide
   hidden hide knew know known know met meet spoke speak spoken speak spent spend taught teach thought think won win
   broke break broken break fell fall fallen fall found find told tell men man women woman children child people
   person mice mouse feet foot data datum`
    .split(/\s+/)
    .flatMap((word, index, all): [string, string][] => (index % 2 === 0 ? [[word, all[index + 1] ?? word]] : [])),
)

/** A light stem: English endings, the plurals of its neighbours, and the Arabic article. Other words stay as they are. */
export function stem(word: string): string {
  if (/^[\u0600-\u06ff]/.test(word)) return stemArabic(word)
  if (word.length < 4 || !/^[a-z]+$/.test(word)) return word
  const known = irregular.get(word)
  if (known === undefined && !/[sdgyet]$/.test(word)) return word
  const base = (known ?? word).replace(/(?:ies|ied)$/, 'y').replace(/([^su])s$/, '$1')
  const cut = base.replace(/(?:ments?|ingly|edly|ing|ed|ly)$/, '')
  const rest =
    cut !== base && cut.length >= 3 && /[aeiouy]/.test(cut) ? cut.replace(/([b-df-hj-np-rtvwz])\1$/, '$1') : base
  return rest.length > 3 ? rest.replace(/e$/, '').replace(/([^aeiou])y$/, '$1i') : rest
}

/** `reinigt`, `gereinigt` and `Reinigung` are one: a German question asks with the verb for what a text says with the noun. */
export function findGermanRoot(word: string): string {
  const bare = word.replace(/^ge(?=.{5})/, '')
  return bare.replace(/(?<=.{4})(?:ungs?|ungen|tet|ten|te|et|est|st|en|em|er|es|t|e|n|s)$/, '')
}

function stemArabic(word: string): string {
  const bare = word.replace(/^(?:[وفبك]?ال|لل|و)(?=..)/, '')
  return bare.length > 3 ? bare.replace(/(?:ها|ان|ات|ون|ين|ية|ه|ة|ي|ا)$/, '') : bare
}
