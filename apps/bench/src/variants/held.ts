import { serveRaw } from './raw-server.ts'
import { run } from './run.ts'

// The floor variant, but each chat runs in one transaction: a few milliseconds of statements, and seconds of waiting for
// the model. The size of the pool limits the number of streaming answers.

await run((environment) =>
  serveRaw(environment, {
    withConnection: async (sql, work) => {
      const held = await sql.begin(async (transaction) => {
        // Postgres' default. With the template's 10 s, longer answers would fail.
        await transaction.unsafe('set local idle_in_transaction_session_timeout = 0')
        return { result: await work(transaction) }
      })
      return held.result
    },
  }),
)
