import { expect, it } from 'vitest'
import { createAnswer } from './answer.ts'

const createOne = () => createAnswer('owner', { conversationId: 'c', answerId: 'a' })

it('keeps half a surrogate pair at the end of the reasoning', () => {
  const answer = createOne()
  answer.append('reasoning', 'Hm\ud83d')
  answer.append('text', '\ude00 yes')
  expect(answer.parts).toEqual([
    { type: 'reasoning', text: 'Hm\ufffd' },
    { type: 'text', text: '\ufffd yes' },
  ])
  expect(answer.text()).toBe('\ufffd yes')
})

it('ends with half a surrogate pair when the other half never arrives', () => {
  const answer = createOne()
  answer.append('text', 'end\ud83d')
  answer.flush()
  expect(answer.text()).toBe('end\ufffd')
})
