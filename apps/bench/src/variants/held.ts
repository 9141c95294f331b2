import { serveRaw } from './raw-server.ts'
import { run } from './run.ts'

// The floor, with each chat in one transaction from its question to its answer: milliseconds of statements, and the
// model's seconds between them. The pool's size is now the number of answers that can stream.

await run((environment) =>
  serveRaw(environment, {
    withConnection: async (sql, work) => {
      const held = await sql.begin(async (transaction) => {
        // Postgres' own default; under the template's 10 s, longer answers would fail as well.
        await transaction.unsafe('set local idle_in_transaction_session_timeout = 0')
        return { result: await work(transaction) }
      })
      return held.result
    },
  }),
)
