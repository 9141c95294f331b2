import type { AnswerPart } from '@repo/db'
import type { Answer, InputEvent, OtherPart, TextPart } from '../chat/answer.ts'
import { type MessageMetadata, toMetadata } from '../chat/metadata.ts'
import { toSourceEvent } from '../chat/ui-parts.ts'
import type { EventStream } from './event-stream.ts'

export type UiEvents = ReturnType<typeof createUiEvents>

/** Sends events in the order that the protocol requires: each text and each step has a start and an end. */
export function createUiEvents(stream: EventStream, answer: Answer) {
  const { conversationId, answerId } = answer.key
  let open: { id: string; type: TextPart['type'] } | undefined
  let inStep = false
  let sourceCount = 0
  let hasDegraded = false
  const announced = new Set<string>() // tools whose input has begun to arrive

  const send = (event: object) => stream.send(toEvent(event))
  const sendAt = (position: number, json: string) => stream.send(`id: ${answerId}.${position}\ndata: ${json}\n\n`)

  const endText = () => {
    if (open) send({ type: `${open.type}-end`, id: open.id })
    open = undefined
  }
  const endStep = () => {
    endText()
    if (inStep) send({ type: 'finish-step' })
    inStep = false
  }
  const skip = (part: AnswerPart) => {
    if (part.type === 'step-start') inStep = true
    if (part.type === 'sources') sourceCount += part.count
  }

  return {
    start: () => {
      send({ type: 'start', messageId: answerId })
      send({ type: 'data-conversation', data: { id: conversationId }, transient: true })
    },
    /** Sends once how the search was limited. It is not a part of the message. */
    degrade: () => {
      if (hasDegraded || !answer.degraded) return
      hasDegraded = true
      send({ type: 'data-retrieval', data: { degraded: answer.degraded }, transient: true })
    },
    delta: (index: number, type: TextPart['type'], delta: string, position: number) => {
      if (!open) send({ type: `${type}-start`, id: String(index) })
      open ??= { id: String(index), type }
      sendAt(position, `{"type":"${type}-delta","id":"${index}","delta":${JSON.stringify(delta)}}`)
    },
    input: (event: InputEvent) => {
      endText()
      const { toolCallId } = event
      if (event.type === 'tool-input-start') send(event)
      else if (announced.has(toolCallId)) send({ type: event.type, toolCallId, inputTextDelta: event.delta })
      announced.add(toolCallId)
    },
    part: (part: OtherPart, position: number) => {
      if (part.type === 'step-start') endStep()
      const found = part.type === 'sources' ? answer.sources.slice(sourceCount, sourceCount + part.count) : []
      const events = part.type === 'sources' ? found.map(toSourceEvent) : [toPartEvent(part, answer)]
      for (const event of events.slice(0, -1)) send(event)
      sendAt(position, JSON.stringify(events.at(-1)))
      skip(part)
    },
    skip,
    endText,
    finish: () => {
      if (answer.end?.status !== 'failed') endStep()
      stream.end(`${toEvent(toClosingEvent(answer))}data: [DONE]\n\n`)
    },
  }
}

function toEvent(event: object): string {
  return `data: ${JSON.stringify(event)}\n\n`
}

const eventTypes = {
  'step-start': 'start-step',
  'tool-call': 'tool-input-available',
  'tool-result': 'tool-output-available',
  'tool-error': 'tool-output-error',
  'tool-denied': 'tool-output-denied',
  'approval-request': 'tool-approval-request',
  'approval-response': 'tool-approval-response',
} as const

function toPartEvent(part: Exclude<OtherPart, { type: 'sources' }>, { parts }: Answer): object {
  if (part.type === 'client-call') {
    const call = parts.find((call) => call.type === 'tool-call' && call.toolCallId === part.toolCallId)
    return { ...call, type: eventTypes['tool-call'] } // in this state `useChat` waits for the output
  }
  return { ...part, type: eventTypes[part.type] }
}

function toClosingEvent({ end, model }: Answer) {
  if (end?.status === 'complete') return toFinish(end.finishReason, toMetadata({ ...end, model }).metadata)
  if (end?.status === 'failed') return { type: 'error', errorText: end.error ?? 'The answer failed.' }
  return { type: 'abort', reason: end?.status }
}

function toFinish(finishReason: string | null, messageMetadata: MessageMetadata | undefined) {
  return { type: 'finish', ...(finishReason && { finishReason }), ...(messageMetadata && { messageMetadata }) }
}
