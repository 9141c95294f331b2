/** An optional part of the template. Paths are relative to the root. */
export type Part = {
  description: string
  /** Files, folders and globs to delete. */
  files?: string[]
  /** Packages to delete unless a remaining workspace needs them. */
  packages?: string[]
  /** Names in `scripts` of package.json. */
  scripts?: string[]
  /** Packages to remove from each workspace. */
  dependencies?: Record<string, string[]>
  /**
   * What changes in files that stay: the start of a line whose block is removed (see cut-block.ts), or a text and its
   * replacement.
   */
  edits?: Record<string, (string | [from: string, to: string])[]>
}
