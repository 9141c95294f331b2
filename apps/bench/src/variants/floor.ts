import { serveRaw } from './raw-server.ts'
import { run } from './run.ts'

// The floor: the minimal cost of the work on Node, without a framework. It does not resume streams, save progress, count
// metrics or guard connections. The difference to the shipped API is the overhead of the template.

await run((environment) => serveRaw(environment))
