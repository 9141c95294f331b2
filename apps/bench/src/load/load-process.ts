import { runLoad } from './load.ts'
import type { Load } from './plan.ts'

// node load-process.ts LOAD: a separate process, so that its CPU time does not count as the server's. Writes lines of
// JSON: counts while it runs, and finally the result.

const load: Load = JSON.parse(process.argv[2] ?? '')
const write = (line: object) => void process.stdout.write(`${JSON.stringify(line)}\n`)
write({ result: await runLoad(load, (counts) => write({ counts })) })
