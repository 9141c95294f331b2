import { existsSync, statSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { setTimeout } from 'node:timers/promises'

// Health checks for the image, which has no shell: `node health.js api` and `node health.js worker` exit with 1 if it is
// not healthy. `node health.js api 15` sleeps for 15 s before, unless it is the first check that succeeds (see Compose).

const [, , program, seconds = 0] = process.argv
const checks = {
  api: () => get('http://127.0.0.1:3000/health/ready', ({ statusCode }) => report(statusCode === 200)),
  // The worker touches this file every 5 s while the database responds.
  worker: () => report(Date.now() - statSync('/tmp/sluice-worker').mtimeMs < 30_000),
}
const mark = '/dev/shm/up' // a restart removes it

function report(isHealthy) {
  if (isHealthy && seconds > 0) writeFileSync(mark, '')
  process.exit(isHealthy ? 0 : 1)
}

if (seconds > 0 && existsSync(mark)) await setTimeout(seconds * 1000)
checks[program]()
