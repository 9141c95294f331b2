import { existsSync, globSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import { run } from './processes.ts'

const root = join(import.meta.dirname, '../..')

/**
 * Builds the page if it is missing or older than its sources. Does nothing without apps/web. The API also works without
 * the page.
 */
export async function buildPage(signal: AbortSignal): Promise<void> {
  if (!existsSync(join(root, 'apps/web/package.json')) || !isStale()) return
  console.log('building the page')
  const building = run(['npm', 'run', 'build', '--silent', '-w', '@repo/web'], { signal, env })
  await building.catch((error) => console.error(`failed to build the page: ${error.message}`))
}

function isStale(): boolean {
  const built = statSync(join(root, 'apps/web/dist/index.html'), { throwIfNoEntry: false })
  const sources = globSync(['apps/web/*.{ts,json,html}', 'apps/web/src/*', 'package-lock.json'], { cwd: root })
  return !built || sources.some((file) => statSync(join(root, file)).mtimeMs > built.mtimeMs)
}
