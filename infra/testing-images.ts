import { execute } from './testing.ts'

/**
 * Names the Compose project of this run, so that all test files share its images. Returns a function that removes them.
 */
export function setup() {
  const project = `sluice-test-${process.pid}`
  process.env.COMPOSE_TEST_PROJECT = project
  if (process.env.SLUICE_FULL === undefined) return
  const images = `docker images --all --quiet --filter label=com.docker.compose.project=${project}`
  return async () => {
    await execute('sh', ['-c', `${images} | sort --unique | xargs --no-run-if-empty docker image rm --force`]).catch(
      () => {}, // no engine, no images
    )
  }
}
