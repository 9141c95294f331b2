import { readFile } from 'node:fs/promises'
import { connect, createStore, type Store } from '@repo/db'
import { ingestDocument } from '@repo/rag'
import { ConfigError, readConfig } from './config.ts'
import { createModels } from './models.ts'
import { describeError } from './plugins/errors.ts'

/** The sample documents are the project's own, so that the first question gets a true answer. */
const samples = [
  { title: 'Sluice: README', file: '../../../README.md' },
  { title: 'Sluice: decisions', file: '../../../DECISIONS.md' },
  { title: 'Sluice: async and pooling', file: '../samples/async-and-pooling.md' },
]

/** Loads the samples for the local owner; an older version of a sample goes. */
async function seed(config: ReturnType<typeof readConfig>) {
  const database = connect({ url: config.DATABASE_URL, poolSize: 1, applicationName: 'sluice-seed' })
  const llm = createModels(config)
  try {
    const store = createStore(database.db)
    const owner = await store.owners.ensure('local')
    for (const { title, file } of samples) {
      const text = await readFile(new URL(file, import.meta.url), 'utf8')
      const document = await ingestDocument({ store, embedder: llm.embedder }, owner, { title, text })
      if (document.status === 'failed') console.warn(`${title} is not searchable yet: ${document.error}`)
      await removeOlder(store, owner, title, document.id)
    }
  } finally {
    llm.close()
    await database.close()
  }
}

async function removeOlder(store: Store, owner: string, title: string, currentId: string) {
  const documents = await store.documents.list(owner, 1000)
  for (const { id, title: other } of documents) {
    if (other === title && id !== currentId) await store.documents.remove(owner, id)
  }
}

try {
  await seed(readConfig())
} catch (error) {
  console.error(
    error instanceof ConfigError
      ? error.message
      : `The sample documents could not be loaded: ${JSON.stringify(describeError(error))}`,
  )
  process.exit(1)
}
