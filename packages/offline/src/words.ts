// Words that say nothing about the subject of a question, among them the words of asking itself.
const english =
  toSet(`a about above after all also although always am an and any are as ask at away be because been before
  being below between both but by can cannot could detail details did didn do document documents does doesn doing don done down
  during each either else ever every exactly explain few find first for from get gets getting give go goes got had happen
  happens has have having he hello help her here hers him his how i if in information into is isn it its itself just kind
  know let like list long made make makes many may me mean meaning means meant might mine more most much must my need needed
  needs neither no nor not of off often on one only or other our out over own per please possible question quite
  receive say says shall she should show so some somebody someone something still such take tell than thank
  thanks that the their them then there these they thing things this those through to too under until up upon us use used
  uses using very via want wants was we well were what when where whether which while who whom whose why will
  with within without work works would yes yet you your yours`)
const german =
  toSet(`aber alle allem allen aller alles als also alt am an andere anderen auch auf aus bedeutet bei beim bin
  bis bist bitte brauche brauchen braucht da damit dann darf das dass dein dem den denn der des deshalb die dies diese diesem
  diesen dieser dieses doch dort du durch ein eine einem einen einer eines er es etwas für gegen gibt haben habe hat hatte
  heißt hier hoch ich ihm ihn ihr ihre ihrem ihren im in ins ist ja jede jedem jeden jeder jedes jetzt kann kannst kein keine
  keinem keinen können könnte lang lange man mehr mein meine mich mir mit muss müssen nach nicht nichts noch nun nur ob oder oft
  ohne sehr sein seine sich sie sind so soll sollen sollte sondern tun über um und uns unser unter viel viele vom von vor wann
  war waren warum was weil welche welchem welchen welcher welches wem wen wenn wer werden wessen wie wieso will wir wird
  wo wofür woher wohin womit wozu wurde würde zu zum zur zwischen`)
const other =
  toSet(`à a al alla au aux avec ce ces cette che ci com combien come comme comment como cómo con cuál cuándo cuánto
  cuántos d da dans de del della des di dónde du e el elle en es est et être faut ha hay i il ils j je l la las le les los ma
  me mi moi mon n ne non nous o on ou où par para pas per perché peut por pour pourquoi pouvez qu quand quanto que qué quel
  quelle quelles quels qui quién quoi s sa se ses si son sont su sur tiene tu un una une uno vous y heure
  的 了 是 在 吗 什么 多 多少 多久 怎么 如何 谁 为什么 有 可以 要 需要 由 被 长 时间`)

const tokenPattern = /[\p{L}\p{N}\p{M}_]+(?:[.\-'@:/][\p{L}\p{N}_]+)*/gu
const unspaced = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}]/u
const wordSegmenter = new Intl.Segmenter(undefined, { granularity: 'word' })
const maxWordLength = 64

function toSet(words: string): ReadonlySet<string> {
  return new Set(words.split(/\s+/).map(fold))
}

/** Lower case without accents: `Résumé` and `resume` are one word. */
export function fold(text: string): string {
  const isAscii = /^[\n -~]*$/.test(text)
  const letters = isAscii ? text : text.normalize('NFKD').replace(/[\u0300-\u036f]/g, '')
  return letters.normalize('NFC').toLowerCase().replaceAll('’', "'").replaceAll('ß', 'ss')
}

/** The folded words of a text in order. A compound such as `max_client_conn` is followed by its parts. */
export function readWords(text: string): string[] {
  return (fold(text).match(tokenPattern) ?? []).flatMap(splitToken)
}

function splitToken(token: string): string[] {
  if (unspaced.test(token)) return Array.from(wordSegmenter.segment(token), ({ segment }) => segment)
  const word = token.slice(0, maxWordLength).replace(/^(?:\p{L}|qu)'|'.*$/gu, '') // l'amende, customer's
  const parts = /\p{L}/u.test(word) ? word.split(/[_.\-@:/]+/).filter((part) => part !== '') : [word]
  return parts.length > 1 ? [word, ...parts] : parts
}

/** Whether the word is a function word in any of the languages. */
export function isFunctionWord(word: string): boolean {
  return english.has(word) || german.has(word) || other.has(word)
}

/** The words that carry a meaning. English `die` is kept in an English text and dropped from a German one. */
export function keepContentWords(words: string[]): string[] {
  const list = chooseList(words)
  return words.filter((word) => !list.has(word) && (word.length > 1 || /\d|\p{Script=Han}/u.test(word)))
}

/** Whether a text seems to be in German. */
export function isGerman(words: string[]): boolean {
  return chooseList(words) === german
}

function chooseList(words: string[]): ReadonlySet<string> {
  const count = (list: ReadonlySet<string>) => words.filter((word) => list.has(word)).length
  const [list = english] = [english, german, other].sort((a, b) => count(b) - count(a))
  return list
}

/** A light stem for English endings and the plurals of related languages. Other words stay as they are. */
export function stem(word: string): string {
  if (word.length < 4 || !/^[a-z]+$/.test(word)) return word
  const base = word.replace(/(?:ies|ied)$/, 'y').replace(/([^su])s$/, '$1')
  const cut = base.replace(/(?:ments?|ingly|edly|ing|ed|ly)$/, '')
  const isCut = cut !== base && cut.length >= 3 && /[aeiouy]/.test(cut)
  const rest = isCut ? cut.replace(/([b-df-hj-np-rtvwz])\1$/, '$1') : base
  return rest.length > 3 ? rest.replace(/e$/, '').replace(/([^aeiou])y$/, '$1i') : rest
}

// Few on purpose: a wrong pair is a wrong answer.
const synonymGroups = [
  'open opening close closing shut hours offnet schliesst geoffnet geschlossen ouvre ouvert ouverte ferme fermee',
  'cancel terminate end',
  'cost price fee charge',
  'delete remove',
  'limit max maximum',
]
const synonyms = new Map(
  synonymGroups.flatMap((line, group) => line.split(' ').map((word): [string, string] => [stem(word), `=${group}`])),
)

/** The different words of a text, each as what all its forms and synonyms have in common. */
export function readRoots(text: string): Set<string> {
  return new Set(readWords(text).map(findRoot))
}

/** What all forms of a word and its synonyms have in common. */
export function findRoot(word: string): string {
  const stemmed = stem(word)
  return synonyms.get(stemmed) ?? stemmed
}
