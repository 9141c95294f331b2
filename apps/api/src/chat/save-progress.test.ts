import type { Progress } from '@repo/db'
import { pino } from 'pino'
import { expect, it, vi } from 'vitest'
import { testApp } from '../testing.ts'
import { type Answer, createAnswer } from './answer.ts'
import { createSaver } from './save-progress.ts'

const { store, close } = await testApp()
await close() // the tests replace its statements

const timeout = () => Object.assign(new Error('canceled'), { name: 'PostgresError', code: '57014' })

/** Opens a saver whose statements are answered by `answer`. Records the ids of each statement. */
function openSaver(answer: (progress: Progress[]) => void = () => {}) {
  const statements: string[][] = []
  const saveProgress = async (progress: Progress[]) => {
    statements.push(progress.map(({ answerId }) => answerId))
    answer(progress)
    return new Set(statements.at(-1))
  }
  const read = vi.fn(async () => [])
  const answers = { ...store.answers, saveProgress, read }
  return { ...createSaver({ store: { ...store, answers }, log: pino({ level: 'silent' }) }), statements }
}

function createOne(answerId: string, bytes: number): Answer {
  const answer = createAnswer('owner', { conversationId: 'c', answerId })
  answer.append('text', 'a'.repeat(bytes))
  return answer
}

it('splits a statement that timed out, and merges it again after success', async () => {
  const running = [createOne('a', 10), createOne('b', 10), createOne('c', 10)]
  const { saveTogether, saveSingly, statements } = openSaver((progress) => {
    if (progress.some(({ answerId }) => answerId === 'b')) throw timeout()
  })
  await saveTogether(running)
  await expect(saveSingly(running)).rejects.toMatchObject({ code: '57014' })
  await saveTogether(running)
  expect(statements).toEqual([['a', 'b', 'c'], ['a'], ['b'], ['c'], ['a', 'c']])
})

it('sends at most 512 kB of new text per statement', async () => {
  const running = Array.from({ length: 20 }, (_, n) => createOne(`${n}`, 60_000))
  const { saveTogether, statements } = openSaver()
  await saveTogether(running)
  expect(statements.map(({ length }) => length)).toEqual([8, 8, 4])
  await saveTogether(running) // there is no new text
  expect(statements.at(-1)?.length).toBe(20)
})

it('lets a waiting model continue once its text is stored', async () => {
  const answer = createOne('a', 300_000)
  expect(answer.backlog.isFull()).toBe(true)
  const room = answer.backlog.untilRoom()
  await openSaver().saveTogether([answer])
  await room
  expect(answer.backlog.isFull()).toBe(false)
})

it('does not persist an answer that is stopped while its model waits', async () => {
  const answer = createOne('a', 300_000)
  const room = answer.backlog.untilRoom()
  answer.controller.abort(new Error('stopped'))
  await expect(room).rejects.toThrow('stopped')
})
