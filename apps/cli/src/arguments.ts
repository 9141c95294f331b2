/** The options of all commands. */
export const options = {
  owner: { type: 'string' },
  organization: { type: 'string' },
  since: { type: 'string' },
  from: { type: 'string' },
  to: { type: 'string' },
  'tokens-per-day': { type: 'string' },
  expires: { type: 'string' },
  scopes: { type: 'string' },
  overlap: { type: 'string' },
  keep: { type: 'boolean' },
  librarian: { type: 'boolean' },
  csv: { type: 'boolean' },
  yes: { type: 'boolean' },
} as const

/** What was given on the command line. An option that lacks its value is `true`. */
export type Arguments = { [Name in keyof typeof options]?: string | boolean } & { operands: string[] }

export type Command = {
  name: string
  /** Documents what has to follow the name. */
  args: string
  /** The options that the command takes. Default: none. */
  options?: (keyof typeof options)[]
  what: string
  /** Returns the exit code, or undefined if arguments are missing. */
  run: (given: Arguments) => Promise<number | undefined>
}

/** Throws if an option was given that the command does not take: a key with a misspelt `--scopes` could do everything. */
export function assertOptions({ name, options: known = [] }: Command, given: string[]): void {
  const unknown = given.find((option) => !known.some((name) => name === option))
  if (unknown === undefined) return
  const list = known.map((option) => `--${option}`).join(', ')
  throw new Error(`${name} has no option --${unknown}. ${list ? `It has ${list}.` : 'It has none.'}`)
}

/** Whether an option has a value. */
export function isName(value: string | boolean | undefined): value is string {
  return typeof value === 'string' && value.trim() !== ''
}
