import { readMigrationConfig } from '@repo/config'
import { connect, createEmbedders, sql } from '@repo/db'
import { migrate } from '@repo/db/migrate'
import { LlmError } from '@repo/llm'
import { createModels } from '@repo/models'
import { runCommand } from './command.ts'

/** `npm run db:migrate`: tables and settings, then the index for the embedder that the environment names. */
await runCommand('The migration failed', async () => {
  const config = readMigrationConfig()
  const directUrl = config.DIRECT_DATABASE_URL
  await migrate({ directUrl })
  const llm = createModels(config)
  const model = llm.embedder.name
  try {
    const [vector = []] = await llm.embedder.embed(['How wide is a vector?'])
    await migrate({ directUrl, embedder: { model, dimensions: vector.length } })
    console.log(`The database is up to date, with an index for ${model} (${vector.length} dimensions).`)
  } catch (error) {
    if (!(error instanceof LlmError)) throw error
    // The tables are what the API needs to start; search is exact, only slower, without the index.
    console.log(
      `The tables are up to date, but ${model} has no index yet: ${error.message} Run \`npm run db:migrate\` again.`,
    )
  } finally {
    llm.close()
  }
  await reportOthers(directUrl, model)
  return 0
})

/** Vectors of two models are never compared: what another one embedded is found by its words alone. */
async function reportOthers(url: string, current: string) {
  const database = connect({ url, poolSize: 1, applicationName: 'sluice-migrate' })
  try {
    await database.db.execute(sql`set statement_timeout = 0`) // a start must not fail because there is much to count
    const documents = await createEmbedders(database.db).countWithout(current)
    if (documents > 0)
      console.log(
        `Documents of another embedder (${documents}) are found by their words alone until \`npm run manage -- reindex\`.`,
      )
  } finally {
    await database.close()
  }
}
