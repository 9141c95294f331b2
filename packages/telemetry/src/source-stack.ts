import { existsSync, readFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { fileURLToPath } from 'node:url'

const position = /(file:\/\/\S+?\/apps\/\w+\/dist\/\w+\.js):(\d+):(\d+)/g

/**
 * Returns a stack trace with positions in the sources instead of the bundle. Only for the error that ends a start:
 * reading the map takes most of a second, and Node's `--enable-source-maps` adds 100 MB to every process.
 */
export function toSourceStack(stack: string): string {
  const maps = new Map<string, SourceMap | undefined>()
  return stack.replaceAll(position, (given, bundle: string, line: string, column: string) => {
    if (!maps.has(bundle)) maps.set(bundle, readMap(bundle))
    const entry = maps.get(bundle)?.findEntry(Number(line) - 1, Number(column) - 1)
    if (!entry || !('originalLine' in entry)) return given
    return `${new URL(entry.originalSource, bundle)}:${entry.originalLine + 1}:${entry.originalColumn + 1}`
  })
}

function readMap(bundle: string): SourceMap | undefined {
  const file = fileURLToPath(`${bundle}.map`)
  return existsSync(file) ? new SourceMap(JSON.parse(readFileSync(file, 'utf8'))) : undefined
}
