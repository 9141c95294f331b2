import type { Unit } from './sentences.ts'

/** What kind of answer a question wants, and how a sentence shows that it has it. */
export type Cue = {
  name: 'reason' | 'hours' | 'quantity' | 'time' | 'person' | 'steps'
  asks: RegExp
  /** Other words that an answer need not repeat. */
  drops?: RegExp
  /** Whether the unit looks like such an answer. */
  shows: (unit: Unit) => boolean
  /** What does not show it is no answer, whatever words it holds. */
  isRequired?: boolean
}

/** Whole words or phrases in any script; `\b` knows ASCII only. Scripts without spaces match anywhere. */
function phrases(spaced: string, unspaced: string): RegExp {
  return new RegExp(`(?<![\\p{L}\\p{N}])(?:${spaced})(?![\\p{L}\\p{N}])|${unspaced}`, 'iu')
}

const numberPattern = phrases(
  `one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|fifty|ninety|hundred|thousand|once|twice|half|every|each|daily|weekly|monthly|yearly|free|unlimited|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|zwölf|zwanzig|dreißig|einmal|täglich|wöchentlich|kostenlos|deux|trois|quatre|cinq|sept|huit|neuf|dix|quinze|vingt|trente|cent|gratuite?s?|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|quince|veinte|treinta|cien`,
  String.raw`\d|[一二三四五六七八九十百千两]|免费|يوم|أيام|ساعة|أسبوع|شهر`,
)
const timePattern = phrases(
  `(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|february|march|april|may|june|july|august|september|october|november|december|today|tomorrow|yesterday|after|before|until|once|when|during|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|januar|februar|märz|mai|juni|juli|oktober|dezember|nach|vor|bis|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|janvier|février|mars|avril|juin|juillet|août|après|avant|lunes|martes|miércoles|jueves|viernes|sábado|domingo|enero|febrero|marzo|abril|mayo|junio|julio|agosto|después|antes|hasta`,
  String.raw`\d|[年月日天时]|الساعة|اليوم`,
)

/** Opening and closing are asked of the same sentence: `9 to 5`. `When did it open?` asks for a day, `When do I close it?` for advice. */
const asksHours = phrases(
  String.raw`(?:when|what time) (?:do|does|is|are)(?= (?!i |we ).*(?:open|closed?|shut)(?!\p{L}))|opening (?:hours|times)|(?:ab |bis )?wann(?=.* (?:öffnet|schließt|geöffnet|offen|geschlossen|auf|zu)(?!\p{L}))|öffnungszeiten|(?:quand|à quelle heure)(?=.* (?:ouvre|ferme|ouvert|fermé))|(?:cu[aá]ndo|a qu[eé] hora)(?=.* (?:abre|cierra|abiert|cerrad))`,
  '几点(?=.*(?:开|关))',
)
const openingWord = phrases(
  'open(?:s|ing)?|clos(?:es?|ed|ing)|shuts?|hours|öffnet|schließt|macht|geöffnet|offen|geschlossen|öffnungszeiten|ouvre|ferme|ferment|ouvert(?:e|s|es|ure)?|fermée?s?|horaires|abre|cierra|abiert[oa]s?|cerrad[oa]s?|horario',
  '开门|关门|营业',
)
const clockTime = /\d\s?(?:uhr|[ap]\.?\s?m(?!\p{L})|h(?!\p{L})|o'clock|[点时])|(?<!\d)\d?\d[:.]\d\d(?!\d)/iu
const spelledTime = phrases(
  '(?:at|from|until|till|to|by|um|ab|von|bis|à|de|las?) (?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|noon|midnight|eins|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf|mittags?|mitternacht|une|deux|trois|quatre|cinq|sept|huit|neuf|dix|onze|midi|minuit|una|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|once|doce)',
  '[一二三四五六七八九十][点时]',
)
const showsTime = (text: string) => clockTime.test(text) || spelledTime.test(text)

const cues: Cue[] = [
  {
    name: 'reason',
    asks: phrases(
      'why|how come|what for|reasons?|warum|wieso|weshalb|wozu|pourquoi|por qué|perché',
      '为什么|为何|なぜ|لماذا',
    ),
    shows: textShows(
      phrases(
        `because|since|so that|therefore|otherwise|due to|led to|in order to|to (?:avoid|prevent)|thus|hence|reasons?|weil|da|damit|sonst|denn|deshalb|daher|aufgrund|wegen|nämlich|grund|parce qu|car|afin|sinon|à cause|en raison|raison|porque|ya que|para que|debido|razón|motivo|perché`,
        '因为|由于|所以|以便|ため|بسبب|لأن',
      ),
    ),
  },
  {
    name: 'hours',
    asks: asksHours,
    drops: openingWord,
    shows: ({ text, context, asked }) => showsTime(text) && openingWord.test(`${text}\n${context}\n${asked}`),
    isRequired: true,
  },
  {
    name: 'quantity',
    asks: phrases(
      'how (?:long|much|many|old|high|far|fast|often|big|tall|deep|late|soon|quick(?:ly)?)|which version|(?:value|number|amount|version) of|wie (?:lange?|viele?|oft|hoch|alt|weit|schnell)|wieviel|combien|cu[aá]nt[oa]s?|quant[oi]',
      // Of no width, so that the word itself stays in the question.
      String.raw`多少|多久|多长|几|كم|(?<!\p{L})(?=(?:costs?|prices?|kosten|kostet|co[uû]tent?|cuestan?|precio)(?!\p{L}))`,
    ),
    shows: textShows(numberPattern),
  },
  {
    name: 'time',
    asks: phrases('when|what time|which (?:day|date)|wann|quand|cu[aá]ndo|quando', '什么时候|何时|几点|متى'),
    shows: textShows(timePattern),
  },
  {
    name: 'person',
    asks: phrases('who|whom|whose|wer|wem|wen|wessen|qui|qui[eé]n(?:es)?|chi', '谁|由谁'),
    // A name inside the sentence, or someone who acts in it.
    shows: textShows(
      /[\p{L},] \p{Lu}\p{Ll}+|(?<!\p{L})(?:by|we|they|team|only|must|shall|may)(?!\p{L})|\p{L}(?:er|or|ist)s?(?!\p{L})|由/u,
    ),
  },
  {
    name: 'steps',
    asks: phrases(
      'how (?:do|does|can|could|should|to|would|must|is|are)|what should|which command|what command|steps?|wie (?:kann|muss|soll|mache|geht|stelle|richte)|comment|cómo|come',
      '如何|怎么|怎样|كيف',
    ),
    shows: (unit) =>
      unit.kind !== 'sentence' ||
      /`|(?<!\p{L})(?:open|choose|press|run|set|click|enter|use|write|start)(?!\p{L})/iu.test(unit.text),
  },
]

function textShows(pattern: RegExp): Cue['shows'] {
  return (unit) => pattern.test(unit.text)
}

/**
 * The first cue that the question gives, if any (`how long` asks for a number before `how` asks for steps), and the
 * question without the words that gave it: an answer need not repeat them.
 */
export function readCue(question: string): { cue: Cue | undefined; rest: string } {
  const cue = cues.find(({ asks }) => asks.test(question))
  const rest = cue ? question.replace(cue.asks, ' ') : question
  return { cue, rest: cue?.drops ? rest.replace(cue.drops, ' ') : rest }
}
