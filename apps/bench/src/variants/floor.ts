import { serveRaw } from './raw-server.ts'
import { run } from './run.ts'

// The floor: what the work itself costs on Node, with no framework and nothing beside it. No resuming, no progress kept,
// no metrics, no guard. What the shipped API costs more than this is what the template costs.

await run((environment) => serveRaw(environment))
