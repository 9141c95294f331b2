import { readConfig, readMigrationConfig } from '@repo/config'
import { connect, createEmbedders, createTermIndex, type LanguageName, sql } from '@repo/db'
import { migrate } from '@repo/db/migrate'
import { LlmError } from '@repo/llm'
import { createModels } from '@repo/models'
import { runCommand } from './command.ts'
import { renewTerms } from './reindex.ts'
import { loadSamples } from './samples.ts'

const reindexHint = 'Run `npm run manage -- reindex`.'
const mostRenewed = 5000 // chunks, which takes 10 to 25 s; the API waits for this command to end

/** `npm run db:migrate`: applies migrations and settings, then builds the index of the configured embedding model. */
await runCommand('Migration failed', async () => {
  const config = readMigrationConfig()
  const directUrl = config.DIRECT_DATABASE_URL
  await migrate({ directUrl })
  const llm = createModels(config)
  const model = llm.embedder.name
  try {
    const [vector = []] = await llm.embedder.embed(['How wide is a vector?'])
    await migrate({ directUrl, embedder: { model, dimensions: vector.length } })
    console.log(`The database is up to date and has an index for ${model} (${vector.length} dimensions).`)
  } catch (error) {
    if (!(error instanceof LlmError)) throw error
    // The API can start without the index: searches are then exact, but slower.
    console.log(
      `The tables are up to date, but ${model} has no index yet. ${error.message} Run \`npm run db:migrate\` again.`,
    )
  } finally {
    llm.close()
  }
  await reportUnindexed(directUrl, model, config.SEARCH_LANGUAGE)
  // For Compose, in the same process, because the image has no shell. Their owner exists with AUTH=off only.
  if (process.argv.includes('--samples') && readConfig().AUTH === 'off') await loadSamples()
  return 0
})

/**
 * Reports documents without vectors from `current`. Vectors of two models cannot be compared, so these documents are
 * matched by keyword only. Terms of two tokenizers cannot be compared either: finds those of a small corpus again, and
 * reports a large one.
 */
async function reportUnindexed(url: string, current: string, language?: LanguageName) {
  const database = connect({ url, poolSize: 1, applicationName: 'sluice-migrate' })
  try {
    await database.db.execute(sql`set statement_timeout = 0`) // counting many documents must not fail a start
    const documents = await createEmbedders(database.db).countWithout(current)
    if (documents > 0)
      console.log(
        `Documents indexed with another embedding model (${documents}) are matched by keyword only. ${reindexHint}`,
      )
    const termIndex = createTermIndex(database.db, language)
    await renewTerms(termIndex, mostRenewed)
    if (await termIndex.hasOutdated())
      console.log(`Some documents are not found by keyword, because words are now split differently. ${reindexHint}`)
  } finally {
    await database.close()
  }
}
