import { describeDatabaseError } from '@repo/db'
import { LlmError } from '@repo/llm'

/** V8's messages about code. Other messages of V8 and all messages of Node may quote user data. */
const aboutCode =
  /^(?:[\w$.()]+ is not (?:a function|a constructor|defined)|Cannot read properties of (?:undefined|null))/

/**
 * Returns the parts of an error that may be logged: name, code, stack frames, and the message if it is fixed text. An
 * error class whose messages are fixed text declares `isPublic = true`.
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
