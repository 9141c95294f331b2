import { parse } from 'node:path'
import { toSourceStack } from '@repo/telemetry'

/**
 * Imports each of these files and passes its name and its default export to `use`, which may return a problem. Skips tests and schemas, which are
 * beside the files. `load` imports a file by its name. Callers pass it and the names, because the bundler sees only
 * literal folders. Throws an error whose one-line message starts with `toProblem` of the file, and contains the reason,
 * its location and what to do.
 */
export async function loadFiles(
  names: string[],
  load: (name: string) => Promise<{ default?: unknown }>,
  use: (name: string, exported: unknown) => string | undefined | Promise<string | undefined>,
  toProblem: (file: string) => string,
): Promise<void> {
  const files = names.filter((file) => file.endsWith('.ts') && !/\.(?:test|schemas)\.ts$/.test(file))
  for (const file of files.sort()) {
    try {
      const { name } = parse(file)
      const problem = await use(name, (await load(name)).default)
      if (problem) throw new Error(problem)
    } catch (error) {
      throw new Error(`${toProblem(file)}: ${explain(error)}`, { cause: error })
    }
  }
}

/** What to do, by the code of errors whose message does not say it. */
const advice: Record<string, string> = {
  ERR_MODULE_NOT_FOUND: 'End relative imports in .ts. Install packages with `npm install NAME -w @repo/api`.',
  ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX:
    'Node only strips types. Use a union of strings instead of an enum, and a field instead of a parameter property.',
  FST_ERR_DUPLICATED_ROUTE: 'It is declared twice, in this file or in another one. Rename or remove one.',
}

/** Returns an error's message, file and line, and what to do. Stack frames below the loader do not help authors. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const [stack = ''] = toSourceStack(error.stack ?? '').split(import.meta.url)
  const location = stack.match(/(?:^|file:\/\/)(?!.*node_modules)(\/.+?:\d+)/m)?.[1]?.replaceAll('%20', ' ')
  const sentence = `${error.message}${location ? ` (${location})` : ''}`
  const whatToDo = 'code' in error ? advice[String(error.code)] : undefined
  return (whatToDo ? `${sentence}. ${whatToDo}` : sentence).replaceAll(`${process.cwd()}/`, '')
}
