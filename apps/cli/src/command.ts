import { ConfigError } from '@repo/config'

/**
 * Runs what an operator called, to its end, and sets the exit code: what `work` gives, or 1 with one line of complaint.
 * `failure` begins that line.
 */
export async function runCommand(failure: string, work: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await work()
  } catch (error) {
    process.stderr.write(`${error instanceof ConfigError ? adviseOn(error) : `${failure}: ${explain(error)}`}\n`)
    process.exitCode = 1
  }
}

function adviseOn({ message }: ConfigError): string {
  return `${message} (.env.example explains it; \`npm start\` brings a database of its own)`
}

/** Unlike a log, an operator's own terminal may show what the database said. Drizzle's message is the whole statement. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof Error ? error.cause : error
  return cause.message || ('code' in cause ? String(cause.code) : cause.name) // several addresses were tried: no message
}
