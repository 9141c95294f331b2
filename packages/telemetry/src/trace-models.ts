import type { AnswerEvent, ChatModel, Llm, Reranker } from '@repo/llm'
import { collectOutput, listChatParts, writeMessages } from './content.ts'
import { describeModelCall, recordResponse, type StreamRecorder, traceCall, traceStream } from './spans.ts'
import { traceCompletions } from './trace-completions.ts'

/**
 * Adds a span to each model call, named as in https://opentelemetry.io/docs/specs/semconv/gen-ai/. `hasContent`: with the
 * texts of prompts and answers.
 */
export function traceModels(
  { embedder, reranker, embeddings, chatModels, completionModels, ...llm }: Llm,
  hasContent: boolean,
): Llm {
  return {
    ...llm,
    chat: traceChat(llm.chat, hasContent),
    embedder: {
      ...embedder,
      embed: (...args) => traceCall(describeModelCall('embeddings', embedder.name), () => embedder.embed(...args)),
      embedQuery: (...args) =>
        traceCall(describeModelCall('embeddings', embedder.name), () => embedder.embedQuery(...args)),
    },
    reranker: reranker && traceReranker(reranker),
    completions: traceCompletions(llm.completions, hasContent),
    embeddings: {
      ...embeddings,
      create: (body, signal) =>
        traceCall(describeModelCall('embeddings', embeddings.name), () => embeddings.create(body, signal)),
    },
    chatModels: new Map(chatModels.entries().map(([name, model]) => [name, traceChat(model, hasContent)])),
    completionModels: new Map(
      completionModels.entries().map(([name, model]) => [name, traceCompletions(model, hasContent)]),
    ),
  }
}

function traceReranker(reranker: Reranker): Reranker {
  const description = describeModelCall('rerank', reranker.name)
  return { ...reranker, rerank: (...args) => traceCall(description, () => reranker.rerank(...args)) }
}

function traceChat(model: ChatModel, hasContent: boolean): ChatModel {
  return {
    ...model,
    stream: (request) => {
      const input = hasContent ? { 'gen_ai.input.messages': writeMessages(request.messages, listChatParts) } : {}
      const description = describeModelCall('chat', model.name, input)
      return traceStream(description, () => model.stream(request), createRecorder(hasContent))
    },
  }
}

function createRecorder(hasContent: boolean): StreamRecorder<AnswerEvent[]> {
  const output = hasContent ? collectOutput() : undefined
  return {
    record: (events, span) => {
      if (output) for (const event of events) output.add(event)
      const finish = events.at(-1)
      if (finish?.type !== 'finish') return
      const { usage, finishReason, response } = finish
      recordResponse(span, { usage, response, finishReasons: [finishReason] })
    },
    end: (span) => {
      if (output) span.setAttribute('gen_ai.output.messages', output.write())
    },
  }
}
