import { describe, expect, it } from 'vitest'
import { createTokenizer, toTermNumber } from './terms.ts'

const { countTerms, indexTerms } = createTokenizer()

const find = (question: string, text: string) => {
  const terms = countTerms(text)
  return [...countTerms(question, true).keys()].filter((term) => terms.has(term))
}

describe('a question finds a text', () => {
  it.each([
    ['in NFD', 'cafe\u0301', 'the café is open'],
    ['with soft hyphens', 'navigation', 'the na\u00advi\u00adga\u00adtion of ships'],
    ['with zero-width spaces', 'harbour', 'the har\u200bbour of the town'],
    ['with ligatures', 'file', 'the \ufb01le of the office'],
    ['in full-width letters', 'harbour', 'the ｈａｒｂｏｕｒ of the town'],
    ['in upper case', 'HARBOUR', 'the harbour'],
    ['in English, inflected', 'When do ferries leave?', 'The ferry leaves at nine from the harbour.'],
    ['in German, inflected', 'Welches Haus ist das?', 'Die Häuser am Hafen sind noch dunkel, und das ist gut.'],
    ['in German, compounded', 'Verbindungen', 'Das ist der Verbindungspool, und er ist voll.'],
    ['in Spanish, in one word', 'transbordador', 'Los transbordadores salen a las nueve de la mañana.'],
    ['in Greek', 'βιβλία', 'Το ράφι των βιβλίων είναι για την βιβλιοθήκη και το σχολείο.'],
    ['in Russian', 'книгами', 'Это книга, и она лежит в библиотеке на столе.'],
    ['in Arabic, with article', 'مكتبة', 'هذا هو الكتاب في المكتبة التي في المدينة'],
    ['in Hindi', 'पुस्तकालय', 'पुस्तकालय सुबह नौ बजे खुलता है।'],
    ['in Chinese', '渡轮几点出发', '渡轮七点出发'],
    ['in Japanese', '船は何時に出ますか', '船は七時に出ます'],
    ['in Thai', 'เรือออกกี่โมง', 'เรือออกเจ็ดโมง'],
    ['in Korean, with particles', '학교', '학교에서 공부합니다'],
    ['with a hyphenated code', 'ISO-9001', 'certified by ISO-9001 since 2015'],
    ['with a code, by its number', '9001', 'certified by ISO-9001 since 2015'],
    ['with a file in a path', 'settings.yaml', 'see config/settings.yaml for the keys'],
    ['with a dotted name', 'Maintenance', 'the role red.Maintenance is needed'],
    ['with Node.js', 'node.js', 'it needs Node.js and npm'],
    ['with an underscore', 'max_connections', 'the setting max_connections is 100'],
    ['with an apostrophe', 'homme', 'C’est l’homme qui est dans la rue.'],
  ])('%s', (_, question, text) => {
    expect(find(question, text)).not.toEqual([])
  })
})

describe('terms', () => {
  it('are counted, without stop words', () => {
    expect(countTerms('The oar, the oars and an oar of the boat.')).toEqual(
      new Map([
        ['oar', 3],
        ['boat', 1],
      ]),
    )
  })

  it('contain a code whole and in parts', () => {
    expect([...countTerms('It is the v1.2.3 of ISO-9001.').keys()]).toEqual(
      expect.arrayContaining(['v1.2.3', 'v1', '2', '3', 'iso-9001', 'iso', '9001']),
    )
  })

  it('of a chunk have one language, even if a stop word of another occurs', () => {
    expect([...countTerms('oar mast keel rope plank').keys()]).toEqual(['oar', 'mast', 'keel', 'rope', 'plank'])
  })

  it('are stemmed in the given language, if there is one', () => {
    expect([...createTokenizer('german').countTerms('Häuser the oars').keys()]).toEqual(['haus', 'the', 'oar'])
    expect(createTokenizer('german').version).not.toBe(createTokenizer().version)
  })

  it('of hostile text are found in linear time', () => {
    for (const unit of ['a-', '1.', 'x', '漢', 'ก', '한', '\u0301', "'", '😀']) {
      const [short, long] = [4000, 40_000].map((length) => {
        const text = unit.repeat(length)
        const before = process.cpuUsage()
        countTerms(text)
        return process.cpuUsage(before).user
      })
      expect(long, unit).toBeLessThan(50 * Math.max(short ?? 0, 5000)) // ten times as long a text; at least 5 ms, which the clock can measure
    }
  })
})

describe('the index of a chunk', () => {
  const owner = '00000000-0000-0000-0000-000000000001'

  it('contains each term once, with its BM25 weight', () => {
    const { terms, weights } = indexTerms(owner, 'oar oar boat')
    const [oar, boat] = [toTermNumber(owner, 'oar'), toTermNumber(owner, 'boat')]
    expect(terms).toEqual([oar, boat])
    const slowness = 1.2 * (0.25 + (0.75 * 3) / 60)
    const weigh = (count: number) => ((count * 2.2) / (count + slowness)).toFixed(3)
    expect(weights).toBe(`{${oar}:${weigh(2)},${boat}:${weigh(1)}}/1000000000`)
  })

  it('has other numbers for another owner, from 1 to a billion', () => {
    const numbers = Array.from({ length: 1000 }, (_, n) => toTermNumber(owner, `${n}`))
    expect(new Set(numbers).size).toBe(1000)
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(1)
    expect(Math.max(...numbers)).toBeLessThanOrEqual(1_000_000_000)
    expect(toTermNumber(owner.replace('1', '2'), 'oar')).not.toBe(toTermNumber(owner, 'oar'))
  })

  it('of a text without words is empty', () => {
    expect(indexTerms(owner, ' … ')).toEqual({ terms: [], weights: '{}/1000000000' })
  })
})
