import { createAnswers } from './answers.ts'
import type { Db } from './client.ts'
import { createConversations } from './conversations.ts'
import { createDocuments } from './documents.ts'
import { createMessageFiles } from './files.ts'
import { createOwners } from './owners.ts'
import { createPassages } from './passages.ts'
import { createConversationSearch } from './search-conversations.ts'
import { createTurns } from './turns.ts'
import { createUploads } from './uploads.ts'
import { createUsage } from './usage.ts'

/** Creates all queries of the template, once. Functions that access an owner's rows take the owner first. */
export function createStore(db: Db) {
  return {
    owners: createOwners(db),
    conversations: { ...createConversations(db), ...createConversationSearch(db) },
    turns: createTurns(db),
    answers: createAnswers(db),
    messageFiles: createMessageFiles(db),
    documents: createDocuments(db),
    passages: createPassages(db),
    uploads: createUploads(db),
    usage: createUsage(db),
  }
}

export type Store = ReturnType<typeof createStore>
