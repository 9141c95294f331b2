import { describeDatabaseError } from '@repo/db'
import { LlmError } from '@repo/llm'

/** V8's messages about code. Its other messages, and all of Node's, may quote a user's data. */
const aboutCode =
  /^(?:[\w$.()]+ is not (?:a function|a constructor|defined)|Cannot read properties of (?:undefined|null))/

/**
 * Returns what a log may show of an error: its name and code, its place in the code, and its message if that is fixed text.
 * An error class whose messages are fixed text declares `isPublic = true`.
 */
export function describeError(error: unknown) {
  const failure = describeDatabaseError(error)
  if (failure) return { name: 'DatabaseError', code: failure.code, constraint: failure.constraint }
  if (!(error instanceof Error)) return { name: typeof error }
  if (error instanceof LlmError) return { name: error.name, code: error.code, message: error.message }
  const isPublic = 'isPublic' in error && error.isPublic === true
  const message = isPublic ? error.message : aboutCode.exec(error.message)?.[0]
  // A message with several lines could contain one that looks like a stack frame.
  const frames = error.stack?.replace(error.message, () => '').split('\n')
  return {
    name: error.name,
    ...('code' in error && { code: error.code }),
    ...(message && { message }),
    stack: frames?.filter((line) => line.startsWith('    at ')).join('\n'),
  }
}
