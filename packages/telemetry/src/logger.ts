import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino'
import { describeError } from './describe-error.ts'

const flushIntervalMs = 200 // what a killed process loses of its log; whoever reads along does not notice

/** What a line may hold beside its fixed words. None of these is anything that a user wrote. */
const allowed = new Set([
  'method',
  'route', // the pattern, never the URL: that holds questions and ids
  'status',
  'code',
  'durationMs',
  'error', // what `describeError` gives
  'conversationId',
  'answerId',
  'address', // where this process listens; never a request's URL
  'chat',
  'embedder',
  'job', // the name of its file
])

/**
 * A logger that writes what is on its list, and of anything else only how much there was: a question, a document or a key
 * that somebody logs by mistake is not in the log. Two things it cannot check: the words of a line, which must be fixed
 * ones, and the bindings of a child logger, which here are the request's id alone.
 */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options: LoggerOptions = {
    level,
    hooks: {
      logMethod([first, second], method) {
        const [line, words] = typeof first === 'string' ? [undefined, first] : [first, second]
        // Without what %s in the words stands for, and without an error's own message, which pino would take for words.
        method.call(this, keepAllowed(line), typeof words === 'string' ? words : 'no words')
      },
    },
  }
  return pino(options, destination ?? createDestination())
}

/** Lines leave together: to write each by itself is a system call a line. None is lost at a regular exit. */
function createDestination(): DestinationStream {
  const destination = pino.destination({ sync: false, minLength: 8192 }) // bytes; about fifty lines
  setInterval(() => destination.flush(), flushIntervalMs).unref()
  return destination
}

function keepAllowed(line: unknown): object {
  if (line instanceof Error) return { error: describeError(line) }
  const kept: Record<string, unknown> = {}
  let withheld = 0
  for (const [key, value] of Object.entries(Object(line))) {
    if (key === 'err' || value instanceof Error) kept.error = describeError(value)
    else if (allowed.has(key)) kept[key] = value
    else withheld += 1
  }
  return withheld > 0 ? { ...kept, withheld } : kept
}
