import { execFileSync, spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import type { Raw } from './objects.ts'

const folder = import.meta.dirname

export const overlays = globSync('overlays/*', { cwd: folder })
  .map((path) => path.slice('overlays/'.length))
  .sort()

export const whyNoBuilder = 'neither kustomize nor a kubectl with kustomize 5 is on PATH'

const Objects = z.array(
  z.looseObject({
    apiVersion: z.string(),
    kind: z.string(),
    metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
  }),
)

/** Returns the command that builds overlays, or undefined if this machine has none. */
export function findBuilder(): string[] | undefined {
  if (/v5\./.test(spawnSync('kustomize', ['version'], { encoding: 'utf8' }).stdout ?? '')) return ['kustomize', 'build']
  const { stdout } = spawnSync('kubectl', ['version', '--client'], { encoding: 'utf8' })
  return /Kustomize Version: v5/.test(stdout ?? '') ? ['kubectl', 'kustomize'] : undefined
}

/** Returns the objects of an overlay. Throws an error with the builder's message if it does not build. */
export function buildOverlay([program = '', ...args]: string[], overlay: string): Raw[] {
  const path = join(folder, 'overlays', overlay)
  return parse(execFileSync(program, [...args, path], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }))
}

/** Returns the objects of all files below this folder by path, without patches. Needs no builder. */
export function readFiles(): [path: string, objects: Raw[]][] {
  const paths = globSync('{base,components}/**/*.yaml', { cwd: folder }).filter((path) => !/kustomization/.test(path))
  return paths.sort().map((path) => [path, parse(readFileSync(join(folder, path), 'utf8'))])
}

function parse(text: string): Raw[] {
  return Objects.parse(
    parseAllDocuments(text).map((document) => {
      if (document.errors[0]) throw document.errors[0]
      return document.toJS()
    }),
  )
}
