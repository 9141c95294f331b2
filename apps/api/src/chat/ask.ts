import { ConflictError, type Store } from '@repo/db'
import type { Answer, Caller } from './answer.ts'
import type { Question } from './question.ts'

type Asking = {
  store: Store
  begin: (owner: string, question: Question, caller: Caller) => Promise<Answer>
  /** Stops the conversation's running answer. */
  stop: (owner: string, conversationId: string) => Promise<void>
}

const maxAttempts = 5 // several clients may replace the same question at once

/**
 * Returns a function that begins the answer to a question. It stops a running answer first if the question replaces an
 * earlier one, or comes from a client that has left that answer.
 */
export function createAsk({ store, begin, stop }: Asking): Asking['begin'] {
  /** Also stops the answer to another client that replaces the same question at the same time. */
  const replace: Asking['begin'] = async (owner, question, caller) => {
    for (let attempt = 1; ; attempt += 1) {
      await stop(owner, question.conversationId)
      try {
        return await begin(owner, question, caller)
      } catch (error) {
        if (!isAnswerRunning(error) || attempt === maxAttempts) throw error
      }
    }
  }

  return async (owner, question, caller) => {
    if (question.action !== 'ask') return replace(owner, question, caller)
    try {
      return await begin(owner, question, caller)
    } catch (error) {
      if (!isAnswerRunning(error) || !(await hasLeft(store, owner, question))) throw error
      return replace(owner, question, caller)
    }
  }
}

function isAnswerRunning(error: unknown): boolean {
  return error instanceof ConflictError && error.code === 'answer_running'
}

/**
 * Returns whether the client's messages end with the running answer or its question. It asks nevertheless, so it has left
 * that answer: `stop()` of `useChat` only disconnects. Another client, which does not know of the answer, has to wait.
 */
async function hasLeft(store: Store, owner: string, { conversationId, previousId }: Question): Promise<boolean> {
  if (previousId === undefined) return false
  const turn = await store.answers.findRunningTurn(owner, conversationId)
  return !turn || turn.answerId === previousId || turn.questionId === previousId
}
