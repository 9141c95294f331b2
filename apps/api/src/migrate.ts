import { migrate } from '@repo/db/migrate'
import { LlmError } from '@repo/llm'
import { ConfigError, type MigrationConfig, readMigrationConfig } from './config.ts'
import { createModels } from './models.ts'
import { describeError } from './plugins/errors.ts'

/** `npm run db:migrate`: tables and settings, then the index for the embedder that the environment names. */
async function run(config: MigrationConfig) {
  await migrate({ directUrl: config.DIRECT_DATABASE_URL })
  const llm = createModels(config)
  try {
    const [vector = []] = await llm.embedder.embed(['How wide is a vector?'])
    await migrate({
      directUrl: config.DIRECT_DATABASE_URL,
      embedder: { model: llm.embedder.name, dimensions: vector.length },
    })
    console.log(`The database is up to date, with an index for ${llm.embedder.name} (${vector.length} dimensions).`)
  } catch (error) {
    if (!(error instanceof LlmError)) throw error
    // The tables are what the API needs to start; search is exact, only slower, without the index.
    console.warn(
      `The tables are up to date, but ${llm.embedder.name} has no index yet: ${error.message} Run \`npm run db:migrate\` again.`,
    )
  } finally {
    llm.close()
  }
}

try {
  await run(readMigrationConfig())
} catch (error) {
  console.error(
    error instanceof ConfigError ? error.message : `The migration failed: ${JSON.stringify(describeError(error))}`,
  )
  process.exit(1)
}
