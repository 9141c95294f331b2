import { serveRaw } from './raw-server.ts'
import { run } from './run.ts'

// The floor: the minimal cost of a chat on Node, without a framework: a vector search, the history and two writes in SQL
// written by hand. It does not search keywords, resume streams, save progress, count metrics or guard connections.

await run((environment) => serveRaw(environment))
