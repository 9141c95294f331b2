import { readFile } from 'node:fs/promises'
import { readConfig } from '@repo/config'
import { connect, createStore } from '@repo/db'
import { createModels } from '@repo/models'
import { ingestDocument } from '@repo/rag'
import { runCommand } from './command.ts'

/** Texts about this project, written for this purpose: editing the README or the docs cannot break the first answer. */
const samples = [
  { title: 'Sluice: overview', file: '../samples/overview.md' },
  { title: 'Sluice: decisions', file: '../samples/decisions.md' },
  { title: 'Sluice: async and pooling', file: '../samples/async-and-pooling.md' },
]

/**
 * Loads the samples for the local owner, beside the queue: they are ready before anybody asks, with no worker at hand. A
 * newer version of one takes its place.
 */
await runCommand('The sample documents could not be loaded', async () => {
  const config = readConfig()
  const database = connect({ url: config.DATABASE_URL, poolSize: 1, applicationName: 'sluice-seed' })
  const llm = createModels(config)
  try {
    const store = createStore(database.db)
    const owner = await store.owners.ensure('local')
    for (const { title, file } of samples) {
      const sample = {
        title,
        text: await readFile(new URL(file, import.meta.url), 'utf8'),
        externalId: `sample: ${title}`,
      }
      const document = await ingestDocument({ store, embedder: llm.embedder }, owner, sample)
      if (document.status !== 'ready')
        console.log(`${title} cannot be found yet: ${document.error} The next start tries again.`)
    }
    return 0
  } finally {
    llm.close()
    await database.close()
  }
})
