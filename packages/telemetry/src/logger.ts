import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino'
import { describeError } from './describe-error.ts'

const flushIntervalMs = 200 // a killed process loses at most this much of its log, and a reader does not notice the delay

/** The fields that may be logged. None of them contains text that a user wrote. */
const allowed = new Set([
  'method',
  'route', // the pattern, never the URL, which contains questions and IDs
  'status',
  'code',
  'durationMs',
  'error', // as returned by `describeError`
  'conversationId',
  'answerId',
  'address', // the address that this process listens on, never a request's URL
  'chat',
  'embedder',
  'reranker',
  'model', // names from the configuration, never from a request
  'fallback',
  'job', // the name of the job's file
])

/**
 * Creates a logger that writes only the fields in `allowed`. It replaces all others by their number (`withheld`), so
 * that a question, document or key that is logged by mistake does not appear in the log. It cannot check messages,
 * which must be fixed text, and the bindings of child loggers, which contain only the request ID.
 */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options: LoggerOptions = {
    level,
    hooks: {
      logMethod([first, second], method) {
        const [fields, message] = typeof first === 'string' ? [undefined, first] : [first, second]
        // Drops the values of %s and an error's own message, which pino would use as the log message.
        method.call(this, keepAllowed(fields), typeof message === 'string' ? message : '(no message)')
      },
    },
  }
  return pino(options, destination ?? createDestination())
}

/** Buffers lines to avoid one system call per line. No line is lost at a regular exit. */
function createDestination(): DestinationStream {
  const destination = pino.destination({ sync: false, minLength: 8192 }) // bytes, about fifty lines
  setInterval(() => destination.flush(), flushIntervalMs).unref()
  return destination
}

function keepAllowed(fields: unknown): object {
  if (fields instanceof Error) return { error: describeError(fields) }
  const kept: Record<string, unknown> = {}
  let withheld = 0
  for (const [key, value] of Object.entries(Object(fields))) {
    if (key === 'err' || value instanceof Error) kept.error = describeError(value)
    else if (allowed.has(key)) kept[key] = value
    else withheld += 1
  }
  return withheld > 0 ? { ...kept, withheld } : kept
}
