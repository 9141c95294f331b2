import { runLoad } from './load.ts'
import type { Load } from './plan.ts'

// node load-process.ts LOAD: a process of its own, so that what the load costs is not counted as the server's. Writes
// lines of JSON: the counts as they grow, and last the result.

const load: Load = JSON.parse(process.argv[2] ?? '')
const write = (line: object) => void process.stdout.write(`${JSON.stringify(line)}\n`)
write({ result: await runLoad(load, (counts) => write({ counts })) })
