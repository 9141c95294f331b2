import { readdir, readFile } from 'node:fs/promises'
import { readConfig } from '@repo/config'
import { connect, createStore } from '@repo/db'
import { createModels } from '@repo/models'
import { ingestDocument } from '@repo/rag'

const folder = new URL('../samples/', import.meta.url)

/** Returns the Markdown files in `apps/cli/samples`, each with its first heading as the title. */
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
 * Loads the sample documents for the local owner without the queue, so that they are ready before the first question
 * and need no worker. A newer version of a sample replaces the older one.
 */
export async function loadSamples(): Promise<void> {
  const config = readConfig()
  const database = connect({ url: config.DATABASE_URL, poolSize: 1, applicationName: 'sluice-seed' })
  const llm = createModels(config)
  try {
    const store = createStore(database.db, config.SEARCH_LANGUAGE)
    const owner = await store.owners.ensure('local')
    for (const sample of await readSamples()) {
      const document = await ingestDocument({ store, embedder: llm.embedder }, owner, sample)
      if (document.status !== 'ready')
        console.log(`${sample.title} cannot be searched yet. ${document.error} The next start will retry.`)
    }
  } finally {
    llm.close()
    await database.close()
  }
}
