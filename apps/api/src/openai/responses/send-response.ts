import { type AnswerEvent, createAnswerDecoder } from '@repo/llm'
import { isTimeUp } from '../../chat/answer-end.ts'
import type { ChunkStream } from '../chunk-stream.ts'
import type { CompletionResult, Output } from '../complete.ts'
import { toCallProblem } from '../run-call.ts'
import { type Completion, createMeter } from '../send-chunks.ts'
import { createResponse } from './response.ts'
import type { ResponseRequest } from './routes.schemas.ts'

type Response = ReturnType<typeof createResponse>

/** Returns the response for a whole completion. */
export function toResponse(body: ResponseRequest, { citations, degraded, ...completion }: CompletionResult) {
  const response = createResponse(body)
  response.start({ ...(citations && { citations }), ...(degraded && { degraded }) })
  const decoder = createAnswerDecoder()
  const events: AnswerEvent[] = []
  decoder.readEvent({ name: '', data: JSON.stringify(completion) }, events)
  return finish(response, [...events, ...decoder.readEnd()])
}

/** Creates the stream of one response. Its failures are events too. */
export function createResponseOutput(body: ResponseRequest): Output {
  const response = createResponse(body)
  const toFailure = (error: unknown) => {
    response.fail(toCallProblem(error))
    return response.takeEvents()
  }
  return { ending: { done: '', toFailure }, send: (stream, completion) => sendResponse(response, stream, completion) }
}

/** Sends a model's chunks as events of a response. At a limit it cancels the model call. */
async function sendResponse(response: Response, { send }: ChunkStream, completion: Completion): Promise<void> {
  const { call, batches, fields } = completion
  const decoder = createAnswerDecoder()
  const meter = createMeter(completion)
  response.start(fields)
  await send(response.takeEvents())
  try {
    for await (const batch of batches) {
      const fitting = meter.take(batch)
      const events: AnswerEvent[] = []
      for (const data of fitting) decoder.readEvent({ name: '', data }, events)
      for (const event of events) response.add(event)
      call.count(events.length)
      await send(response.takeEvents())
      if (fitting.length < batch.length) break
    }
  } catch (error) {
    if (!isTimeUp(error) || call.deltas === 0) throw error
    meter.end()
  }
  // The calls of an answer that was cut off are incomplete.
  finish(response, meter.isReached() ? [{ type: 'finish', finishReason: 'length' }] : decoder.readEnd())
  await send(response.takeEvents())
}

function finish(response: Response, events: AnswerEvent[]) {
  for (const event of events) response.add(event)
  const last = events.find((event) => event.type === 'finish') ?? { finishReason: 'other' as const }
  return response.end(last)
}
