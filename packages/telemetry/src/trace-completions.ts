import type { Span } from '@opentelemetry/api'
import {
  type AnswerEvent,
  type CompletionMessage,
  type CompletionModel,
  type CompletionRequest,
  createAnswerDecoder,
  type FinishReason,
  readChunkEnd,
  readCompletionEnd,
  readMessageText,
  readUsage,
} from '@repo/llm'
import { collectOutput, type MessagePart, toCallPart, toName, writeMessages } from './content.ts'
import { describeModelCall, recordResponse, traceCall, traceStream } from './spans.ts'

/** Adds a span to each completion of a client of OpenAI's API. */
export function traceCompletions(model: CompletionModel, hasContent: boolean): CompletionModel {
  const describe = ({ body }: CompletionRequest) => {
    const input = hasContent ? { 'gen_ai.input.messages': writeMessages(body.messages, listParts) } : {}
    return describeModelCall('chat', model.name, input)
  }
  return {
    ...model,
    complete: (request) =>
      traceCall(
        describe(request),
        () => model.complete(request),
        (completion, span) => {
          recordResponse(span, { usage: readUsage(completion), ...readCompletionEnd(completion) })
          const output = collectCompletion(request, hasContent)
          output?.add(JSON.stringify(completion))
          output?.write(span)
        },
      ),
    stream: (request) => {
      const recorder = createRecorder(collectCompletion(request, hasContent))
      const metered = { ...request, onUsage: request.onUsage && recorder.meter(request.onUsage) }
      return traceStream(describe(request), () => model.stream(metered), recorder)
    },
  }
}

/** Parses only the chunks that end a choice, unless there is an `output` to collect. */
function createRecorder(output: Output | undefined) {
  let usage: ReturnType<typeof readUsage>
  const finishReasons: FinishReason[] = []
  return {
    /** Returns a function that notes the usage and passes it on. */
    meter:
      (onUsage: NonNullable<CompletionRequest['onUsage']>): typeof onUsage =>
      (reported) => {
        usage = reported
        onUsage(reported)
      },
    record: (chunks: string[], span: Span) => {
      for (const chunk of chunks) {
        output?.add(chunk)
        const end = readChunkEnd(chunk)
        finishReasons.push(...(end?.finishReasons ?? []))
        if (end) recordResponse(span, { finishReasons, response: end.response })
      }
    },
    end: (span: Span) => {
      recordResponse(span, { usage, finishReasons })
      output?.write(span)
    },
  }
}

type Output = NonNullable<ReturnType<typeof collectCompletion>>

/** Collects the output of a completion, given as JSON. Several choices are not collected. */
function collectCompletion({ body }: CompletionRequest, hasContent: boolean) {
  if (!hasContent || (body.n ?? 1) !== 1) return undefined
  const output = collectOutput()
  const decoder = createAnswerDecoder()
  const addAll = (events: AnswerEvent[]) => {
    for (const event of events) output.add(event)
  }
  return {
    add: (json: string) => {
      const events: AnswerEvent[] = []
      try {
        decoder.readEvent({ name: '', data: json }, events)
      } catch {
        return // an invalid chunk fails elsewhere, or is passed to the client
      }
      addAll(events)
    },
    write: (span: Span) => {
      addAll(decoder.readEnd())
      span.setAttribute('gen_ai.output.messages', output.write())
    },
  }
}

/** Returns the parts of a client's message. Of parts that are not text, such as images, only the type. */
function listParts(message: CompletionMessage): MessagePart[] {
  const { role, content, tool_calls: calls, tool_call_id: id } = message
  if (role === 'tool') return [{ type: 'tool_call_response', id: toName(id), response: readMessageText(message) }]
  const said = typeof content === 'string' ? [{ type: 'text', text: content }] : (content ?? [])
  return [
    ...said.map(({ type, text }) =>
      typeof text === 'string' ? { type: 'text', content: text } : { type: toName(type) },
    ),
    ...(Array.isArray(calls) ? calls : []).map((call) => {
      const { id, function: called } = Object(call)
      return toCallPart(id, Object(called).name, Object(called).arguments)
    }),
  ]
}
