import { LlmError, readMessageText, UnsupportedParameterError, type Usage } from '@repo/llm'
import { describeError } from '@repo/telemetry'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AnswerEndedError, createTimeoutError, isTimeUp, toOutcome } from '../chat/answer-end.ts'
import type { Chat } from '../chat/chat.ts'
import { estimateUsage } from '../chat/count-call.ts'
import { ProblemError, shuttingDown, toProblem } from '../plugins/errors.ts'
import { type Call, createCall } from './call.ts'

/** Statuses with which a server rejects the client's parameters. A wrong key or model name is our own mistake. */
const refusals: unknown[] = [400, 413, 422]

/**
 * Runs `work` in an answer slot. Aborts its call when the client disconnects or the drain is over. Throws
 * `ProblemError` if the response has not begun. Once streaming has begun, `work` reports errors in the stream.
 * Disconnected clients get nothing.
 */
export async function runCall<T>(
  chat: Chat,
  request: FastifyRequest,
  reply: FastifyReply,
  work: (call: Call) => Promise<T>,
): Promise<T | undefined> {
  const { owner, keyId, log } = request
  const call = Object.assign(chat.openCall(owner, createCall), { keyId })
  const stopListening = abortOnLeave(reply, call.controller)
  try {
    const result = await work(call)
    call.close({ end: toEnd(call.usage) })
    return result
  } catch (reason) {
    const error = isTimeUp(reason) ? createTimeoutError() : reason
    call.controller.abort(error)
    const outcome = toOutcome(error)
    call.close(outcome)
    const problem = toCallProblem(error)
    if (outcome.failure && problem.status >= 500) log.error({ error: describeError(error) }, 'completion failed')
    if (!reply.sent && !reply.raw.destroyed) throw problem
    if (!reply.sent) reply.hijack()
    return undefined
  } finally {
    stopListening()
    countCall(request, call)
    log.info(
      { status: call.end?.status, durationMs: Math.round(performance.now() - call.startedAt) },
      'completion ended',
    )
  }
}

/**
 * Aborts when the client disconnects before the response was sent. `request.signal` would also abort once the body is
 * read.
 */
export function abortOnLeave({ raw }: FastifyReply, controller: AbortController): () => void {
  const onClose = () => {
    if (!raw.writableFinished) controller.abort(new AnswerEndedError('stopped'))
  }
  raw.on('close', onClose)
  raw.on('error', onClose) // a reset appears here first; `close` follows
  if (raw.destroyed) onClose()
  return () => raw.off('close', onClose)
}

/** Returns the error that the client receives for a failed call. */
export function toCallProblem(error: unknown): ProblemError {
  if (isTimeUp(error)) return toProblem(createTimeoutError())
  if (error instanceof AnswerEndedError) return shuttingDown({ safeToRetry: false }) // the model may have been called
  if (error instanceof UnsupportedParameterError) {
    return new ProblemError(400, error.code, error.message, { param: error.param })
  }
  if (error instanceof LlmError && error.code === 'model_rejected' && refusals.includes(error.status)) {
    const detail = `The model server responded with ${error.status}. Check the parameters and the length of the text.`
    return new ProblemError(400, error.code, detail)
  }
  return toProblem(error)
}

/** Counts a call that the model has accepted, however it ended. If its usage is unknown, it is estimated. */
function countCall({ server, owner, keyId }: FastifyRequest, { accepted, usage, bytes, toolCalls }: Call): void {
  if (!accepted) return
  const { model, messages } = accepted
  const used =
    usage ??
    estimateUsage(
      messages.map((message) => ({ content: readMessageText(message) })),
      bytes,
    )
  server.usage.count(owner, keyId, { kind: 'dialect', model, usage: used, isEstimated: !usage, toolCalls })
}

/** Returns the end of a call. */
function toEnd(usage: Usage | undefined) {
  return {
    status: 'complete' as const,
    finishReason: null,
    inputTokens: usage?.inputTokens ?? null,
    outputTokens: usage?.outputTokens ?? null,
    cachedTokens: usage?.cachedInputTokens ?? null,
    error: null,
  }
}
