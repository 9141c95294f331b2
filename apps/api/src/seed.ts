import { readdir, readFile } from 'node:fs/promises'
import { connect, createStore } from '@repo/db'
import { ingestDocument } from '@repo/rag'
import { runCommand } from './command.ts'
import { readConfig } from './config.ts'
import { createModels } from './models.ts'

const folder = new URL('../samples/', import.meta.url)

/** The Markdown files of `apps/api/samples`, each with its first heading as the title. */
async function readSamples() {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.md')).sort()
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(new URL(name, folder), 'utf8')
      return { title: text.match(/^# (.+)$/m)?.[1] ?? name, text, externalId: `sample: ${name}` }
    }),
  )
}

/**
 * Loads the sample documents for the local owner. They do not go through the queue, so they are ready for the first question
 * even if no worker runs. A newer version of a sample replaces the older one.
 */
await runCommand('The sample documents could not be loaded', async () => {
  const config = readConfig()
  const database = connect({ url: config.DATABASE_URL, poolSize: 1, applicationName: 'sluice-seed' })
  const llm = createModels(config)
  try {
    const store = createStore(database.db)
    const owner = await store.owners.ensure('local')
    for (const sample of await readSamples()) {
      const document = await ingestDocument({ store, embedder: llm.embedder }, owner, sample)
      if (document.status !== 'ready')
        console.log(`${sample.title} cannot be found yet: ${document.error} The next start tries again.`)
    }
    return 0
  } finally {
    llm.close()
    await database.close()
  }
})
