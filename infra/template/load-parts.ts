import { globSync } from 'node:fs'
import { parse } from 'node:path'
import type { Part } from './part.ts'

/** Returns the optional parts by name. Each file of parts/ is one, and goes with it. */
export async function loadParts(): Promise<Record<string, Part>> {
  const files = globSync('parts/*.ts', { cwd: import.meta.dirname }).sort()
  const entries = files.map(async (file): Promise<[string, Part]> => {
    const { part }: { part: Part } = await import(`./${file}`)
    return [parse(file).name, part]
  })
  return Object.fromEntries(await Promise.all(entries))
}
