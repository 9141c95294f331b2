import { createAnswers } from './answers.ts'
import type { Db } from './client.ts'
import { createConversations } from './conversations.ts'
import { createDocuments } from './documents.ts'
import { createMessageFiles } from './files.ts'
import type { LanguageName } from './languages.ts'
import { createOwners } from './owners.ts'
import { createPassages } from './passages.ts'
import { createConversationSearch } from './search-conversations.ts'
import { createTokenizer } from './terms.ts'
import { createTurns } from './turns.ts'
import { createUploads } from './uploads.ts'
import { createUsage } from './usage.ts'

/**
 * Creates all queries of the template, once. Functions that access an owner's rows take the owner first. `language` is that
 * of all documents, for the keyword search. Default: it is guessed for each text.
 */
export function createStore(db: Db, language?: LanguageName) {
  const tokenizer = createTokenizer(language)
  return {
    owners: createOwners(db),
    conversations: { ...createConversations(db), ...createConversationSearch(db) },
    turns: createTurns(db),
    answers: createAnswers(db),
    messageFiles: createMessageFiles(db),
    documents: createDocuments(db, tokenizer),
    passages: createPassages(db, tokenizer),
    uploads: createUploads(db),
    usage: createUsage(db),
  }
}

export type Store = ReturnType<typeof createStore>
