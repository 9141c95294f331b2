import { execute } from './testing.ts'

/** Names the Compose projects of this run, one per test file. Returns a function that removes their images. */
export function setup() {
  const prefix = `sluice-test-${process.pid}`
  process.env.COMPOSE_TEST_PREFIX = prefix
  if (process.env.SLUICE_FULL === undefined) return
  const images = `docker images --all --quiet --filter 'reference=${prefix}-*'`
  return async () => {
    await execute('sh', ['-c', `${images} | sort --unique | xargs --no-run-if-empty docker image rm --force`]).catch(
      () => {}, // no engine, no images
    )
  }
}
