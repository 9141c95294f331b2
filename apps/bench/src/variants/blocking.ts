import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto'
import { serveRaw } from './raw-server.ts'
import { run } from './run.ts'

// The floor variant, but it checks a key for each chat with `scryptSync` and its defaults. This blocks the event loop for
// about 50 ms, in which no stream of this process makes progress. The asynchronous `scrypt` would run on a thread.

const localKey = 'local' // requests without a key belong to the local owner
const salt = randomBytes(16)
const hash = scryptSync(localKey, salt, 64)

await run((environment) =>
  serveRaw(environment, {
    isAllowed: ({ headers }) => {
      const key = headers.authorization?.replace(/^Bearer /, '') ?? localKey
      return timingSafeEqual(scryptSync(key, salt, 64), hash)
    },
  }),
)
