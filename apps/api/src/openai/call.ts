import { type CompletionMessage, readUsage, type Usage } from '@repo/llm'
import type { MeasuredAnswer } from '@repo/telemetry'
import { z } from 'zod'
import type { Outcome } from '../chat/answer.ts'
import type { AnswerLimits } from '../chat/answer-limits.ts'

const Message = z.looseObject({ tool_calls: z.array(z.unknown()).nullish() })
const Choices = z.array(z.object({ message: Message }))

type State = Omit<MeasuredAnswer, 'ended'> & {
  /** The API key whose budget pays for it. */
  keyId?: string | undefined
  /** The model that has accepted the request, and what it read. */
  accepted?: { model: string; messages: CompletionMessage[] }
  /** Undefined until the model server reports it. */
  usage?: Usage
  /** Of the model's output. */
  bytes: number
  toolCalls: number
}

export type Call = ReturnType<typeof createCall>

/** Creates an answer for its client only. It is not persisted, and no other client can read it. */
export function createCall(limits: AnswerLimits) {
  const ended = Promise.withResolvers<void>()
  const state: State = { startedAt: performance.now(), deltas: 0, bytes: 0, toolCalls: 0 }
  return Object.assign(state, {
    limits,
    /** Aborting it cancels the model call. */
    controller: new AbortController(),
    ended: ended.promise,
    /** Counts received deltas. */
    count: (deltas: number) => {
      if (state.deltas === 0 && deltas > 0) state.firstDeltaAt = performance.now()
      state.deltas += deltas
    },
    accept: (model: string, messages: CompletionMessage[]) => {
      state.accepted = { model, messages }
    },
    reportUsage: (usage: Usage) => {
      state.usage = usage
    },
    /** Counts a whole completion. */
    countCompletion: (completion: Record<string, unknown>) => {
      const { data: choices = [] } = Choices.safeParse(completion.choices)
      const usage = readUsage(completion)
      if (usage) state.usage = usage
      for (const { message } of choices) {
        state.bytes += Buffer.byteLength(JSON.stringify(message))
        state.toolCalls += message.tool_calls?.length ?? 0
      }
    },
    close: ({ end }: Outcome) => {
      state.end = end
      ended.resolve()
    },
  })
}
