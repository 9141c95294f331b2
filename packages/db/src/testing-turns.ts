import { afterAll } from 'vitest'
import type { AnswerEnd } from './answers.ts'
import { connect } from './client.ts'
import type { AnswerPart } from './schema.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'

/** Returns the parts of an answer that is only text. */
export const text = (text: string): AnswerPart[] => [{ type: 'text', text }]

export const complete: AnswerEnd = {
  parts: text('an answer'),
  status: 'complete',
  sources: [],
  finishReason: 'stop',
  inputTokens: 12,
  outputTokens: 3,
  cachedTokens: 8,
  error: null,
}

let made = 0
export const nextId = (kind: string) => `${kind}-${++made}`

/** Creates a store on a new database, dropped after the test file, and an owner who asks and gets answers. */
export async function createScene() {
  const database = await createTestDatabase()
  const { db, close } = connect({ url: database.databaseUrl, poolSize: 20 })
  const store = createStore(db)
  const { turns, answers, conversations, owners } = store
  const owner = await owners.ensure('ada')
  afterAll(async () => {
    await close()
    await database.drop()
  })

  async function openTurn(conversationId = nextId('conversation'), question = 'a question') {
    const turn = { conversationId, title: 'a title', questionId: nextId('q'), question, answerId: nextId('a') }
    await turns.open(owner, turn)
    return turn
  }

  async function answeredTurn(conversationId?: string, question?: string) {
    const turn = await openTurn(conversationId, question)
    await answers.finish(owner, turn, { ...complete, parts: text(`answer to ${turn.question}`) })
    return turn
  }

  const read = async (conversationId: string) =>
    ((await conversations.read(owner, conversationId, 100))?.messages ?? []).reverse()
  const readOne = async (conversationId: string, id: string) =>
    (await read(conversationId)).find((message) => message.id === id)

  return { ...store, db, owner, openTurn, answeredTurn, read, readOne }
}
