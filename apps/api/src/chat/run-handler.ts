import { type Json, toStorableJson, toStorableText } from '@repo/db'
import { describeError } from '@repo/telemetry'
import type { FastifyBaseLogger } from 'fastify'
import { type ToolContext, ToolError } from './tools.ts'

const maxErrorLength = 4000 // UTF-16 units: about 1,000 tokens; a model needs no more to try again
export const maxOutputLength = 64_000 // UTF-16 units of JSON: about 16,000 tokens
const defaultDeadlineMs = 10_000 // a search takes 50 ms, and users wait no longer without seeing words

/**
 * Runs a tool's handler and returns its output. Throws a `ToolError` if the handler does not finish by the deadline, even
 * if it ignores its signal, or if the output is too long. Throws the reason of an aborted signal.
 */
export async function runHandler(
  run: (context: ToolContext) => Promise<Json>,
  context: ToolContext,
  deadlineMs = defaultDeadlineMs,
): Promise<Json> {
  const late = AbortSignal.timeout(deadlineMs)
  const signal = AbortSignal.any([context.signal, late])
  const aborted = Promise.withResolvers<never>()
  const abort = () =>
    aborted.reject(
      late.aborted ? new ToolError(`The tool did not finish within ${deadlineMs / 1000} s.`) : signal.reason,
    )
  signal.addEventListener('abort', abort, { once: true })
  let isOver = false
  const cite: ToolContext['cite'] = (found) => {
    if (isOver) throw new ToolError('The call has ended.') // its handler went on after its deadline
    return context.cite(found)
  }
  try {
    signal.throwIfAborted()
    return toStorable(await Promise.race([run({ ...context, signal, cite }), aborted.promise]))
  } finally {
    isOver = true
    signal.removeEventListener('abort', abort)
  }
}

/** Returns what the model and the user learn about a failed call. Logs errors that are not meant for them. */
export function toErrorText(error: unknown, tool: string, log: FastifyBaseLogger): string {
  if (!(error instanceof ToolError)) log.warn({ tool, error: describeError(error) }, 'tool failed')
  const text = error instanceof ToolError ? error.message : 'The tool failed.'
  return toStorableText(text.slice(0, maxErrorLength))
}

/** Returns an output that Postgres can store. Throws a `ToolError` if it is too long. */
function toStorable(output: Json): Json {
  const json = toStorableJson(output)
  const { length } = JSON.stringify(json)
  if (length > maxOutputLength)
    throw new ToolError(
      `The result is too long: ${length} characters, and at most ${maxOutputLength} fit. Ask for less.`,
    )
  return json
}
