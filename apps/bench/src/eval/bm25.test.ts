import { expect, it } from 'vitest'
import { createBm25 } from './bm25.ts'

const corpus = ['hello there good man', 'it is quite windy in london', 'how is the weather today']
const documents = corpus.map((text, n) => ({ _id: `${n}`, title: '', text }))

it('ranks like rank-bm25 in its own example', () => {
  expect(createBm25({ documents })('windy London', 3)).toEqual(['1'])
})

it('prefers a rare word to a common one, and a short document to a long one', () => {
  const search = createBm25({
    documents: [
      { _id: 'common', title: '', text: 'harbour harbour' },
      { _id: 'rare', title: 'zyzzyva', text: 'harbour' },
      { _id: 'long', title: 'harbour', text: 'and many, many other words of a long text' },
      { _id: 'other', title: '', text: 'nothing' },
      { _id: 'another', title: '', text: 'nothing else' },
      { _id: 'more', title: '', text: 'no more' },
      { _id: 'last', title: '', text: 'the last' },
    ],
  })
  expect(search('zyzzyva harbour', 10)).toEqual(['rare', 'common', 'long'])
})

it('returns at most the given number, and nothing for unknown words', () => {
  const search = createBm25({ documents })
  expect(search('is', 1)).toHaveLength(1)
  expect(search('zebra', 10)).toEqual([])
})

it.each([
  ['Chinese', '渡轮几点出发', ['渡轮七点出发', '图书馆九点开门']],
  ['Japanese', '船は何時に出ますか', ['船は七時に出ます', '図書館は九時に開きます']],
  ['Thai', 'เรือออกกี่โมง', ['เรือออกเจ็ดโมง', 'ห้องสมุดเปิดเก้าโมง']],
])('finds words of %s, which has no spaces', (_, question, texts) => {
  const documents = [...texts, ...corpus].map((text, n) => ({ _id: `${n}`, title: '', text }))
  expect(createBm25({ documents })(question, 1)).toEqual(['0'])
})
