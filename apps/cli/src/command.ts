import { ConfigError } from '@repo/config'

/**
 * Runs a command and sets the exit code: the one that `work` returns, or 1 after an error. The error is printed on one
 * line that starts with `failure`.
 */
export async function runCommand(failure: string, work: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await work()
  } catch (error) {
    const message = error instanceof ConfigError ? addHint(error) : `${failure}: ${getErrorMessage(error)}`
    process.stderr.write(`${message}\n`)
    process.exitCode = 1
  }
}

function addHint({ message }: ConfigError): string {
  return `${message} (see .env.example; \`npm start\` brings its own database)`
}

/**
 * Returns the message for an operator's terminal. Unlike a log, it may contain what the database said. The cause comes
 * first because Drizzle's own message is the whole statement.
 */
export function getErrorMessage(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof Error ? error.cause : error
  return cause.message || ('code' in cause ? String(cause.code) : cause.name) // Node's AggregateError has no message
}
