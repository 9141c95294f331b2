import {
  type AnswerKey,
  type AnswerPart,
  fromStored,
  type Scope,
  type Store,
  toStorableJson,
  toStorableText,
} from '@repo/db'
import type { Llm } from '@repo/llm'
import { listFiles } from '@repo/rag'
import { ProblemError } from '../plugins/errors.ts'
import type { Answer, Beginning, OtherPart } from './answer.ts'
import type { ToolResponse } from './question.ts'
import { listOpenCalls, maxOutputLength } from './run-tools.ts'
import type { OpenTurn } from './write-answer.ts'

type Waiting = { beginning: Beginning; added: OtherPart[]; scope: Scope | undefined; model: string | null }

/**
 * Reads an answer that waits for its client, and what the client's responses add to it. Throws `ProblemError`: 409 if it
 * does not wait, 400 if a response is missing.
 */
export async function readWaiting(
  store: Store,
  owner: string,
  key: AnswerKey,
  responses: ToolResponse[],
): Promise<Waiting> {
  const stored = await store.turns.readWaiting(owner, key)
  if (!stored) throw notWaiting()
  const parts = fromStored(stored)
  const scope = stored.scope ?? undefined
  return { beginning: { parts, sources: stored.sources }, added: toParts(parts, responses), scope, model: stored.model }
}

/** Makes the answer run again, adds the client's responses and returns its turn. Throws `ProblemError` 409. */
export async function continueTurn(
  { store, llm }: { store: Store; llm: Llm },
  answer: Answer,
  { added, scope, model }: Waiting,
): Promise<OpenTurn> {
  const { owner, key } = answer
  if (!(await store.turns.continue(owner, key))) throw notWaiting()
  for (const part of added) answer.add(part)
  const [question, ...history] = await store.turns.history(owner, key.conversationId, key.answerId)
  const asked = { question: question?.content ?? '', files: listFiles(question?.parts) }
  return { ...asked, scope, history, model: llm.chatModels.get(model ?? '') ?? llm.chat }
}

function notWaiting(): ProblemError {
  const detail = 'This answer does not wait for a tool. Send a message from the user instead.'
  return new ProblemError(409, 'answer_not_waiting', detail)
}

/** Returns the parts for the responses to all calls that are open. */
function toParts(parts: AnswerPart[], responses: ToolResponse[]): OtherPart[] {
  return listOpenCalls(parts).map(({ toolCallId, toolName }) => {
    const response = responses.find((response) => response.toolCallId === toolCallId)
    const part = response && toPart(parts, response)
    if (part) return part
    const detail = `The output of ${toolName} (${toolCallId}), or the approval of its call, is missing. Send it.`
    throw new ProblemError(400, 'tool_output_missing', detail)
  })
}

/** Returns undefined for a response that does not fit: an output of a call that needs approval, or the reverse. */
function toPart(parts: AnswerPart[], response: ToolResponse): OtherPart | undefined {
  const { toolCallId } = response
  const request = parts.find((part) => part.type === 'approval-request' && part.toolCallId === toolCallId)
  const approvalId = request?.type === 'approval-request' ? request.approvalId : undefined
  if (response.state === 'approval-responded') {
    const { id, approved, reason } = response.approval
    if (id !== approvalId) return undefined
    return { type: 'approval-response', approvalId, approved, ...(reason && { reason: toStorableText(reason) }) }
  }
  if (approvalId) return undefined
  if (response.state === 'output-error')
    return { type: 'tool-error', toolCallId, errorText: toStorableText(response.errorText) }
  const output = toStorableJson(response.output)
  if (JSON.stringify(output).length > maxOutputLength) {
    const detail = `The output of a tool exceeds ${maxOutputLength} characters. Send less.`
    throw new ProblemError(413, 'message_too_large', detail)
  }
  return { type: 'tool-result', toolCallId, output }
}
