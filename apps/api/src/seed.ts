import { readFile } from 'node:fs/promises'
import { connect, createStore, type Store } from '@repo/db'
import { ingestDocument } from '@repo/rag'
import { runCommand } from './command.ts'
import { readConfig } from './config.ts'
import { createModels } from './models.ts'

/** The sample documents are the project's own, so that the first question gets a true answer. */
const samples = [
  { title: 'Sluice: README', file: '../../../README.md' },
  { title: 'Sluice: decisions', file: '../../../DECISIONS.md' },
  { title: 'Sluice: async and pooling', file: '../samples/async-and-pooling.md' },
]

/** Loads the samples for the local owner; an older version of a sample goes once the new one can be found. */
await runCommand('The sample documents could not be loaded', async () => {
  const config = readConfig()
  const database = connect({ url: config.DATABASE_URL, poolSize: 1, applicationName: 'sluice-seed' })
  const llm = createModels(config)
  try {
    const store = createStore(database.db)
    const owner = await store.owners.ensure('local')
    for (const { title, file } of samples) {
      const text = await readFile(new URL(file, import.meta.url), 'utf8')
      const document = await ingestDocument({ store, embedder: llm.embedder }, owner, { title, text })
      if (document.status === 'ready') await removeOlder(store, owner, title, document.id)
      else console.log(`${title} cannot be found yet: ${document.error}. The next start tries again.`)
    }
    return 0
  } finally {
    llm.close()
    await database.close()
  }
})

async function removeOlder(store: Store, owner: string, title: string, currentId: string) {
  const documents = await store.documents.list(owner, 1000)
  for (const { id, title: other } of documents) {
    if (other === title && id !== currentId) await store.documents.remove(owner, id)
  }
}
