import {
  type AnswerKey,
  type AnswerPart,
  fromStored,
  type Scope,
  type Store,
  toStorableJson,
  toStorableText,
  type WaitingAnswer,
} from '@repo/db'
import type { Llm, Usage } from '@repo/llm'
import { listFiles } from '@repo/rag'
import { ProblemError } from '../plugins/errors.ts'
import type { Answer, Beginning, OtherPart } from './answer.ts'
import type { ToolResponse } from './question.ts'
import { maxOutputLength } from './run-handler.ts'
import { listOpenCalls } from './run-tools.ts'
import type { OpenTurn } from './write-answer.ts'

type Waiting = { beginning: Beginning; count: number; added: OtherPart[]; scope: Scope | undefined }

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
  const beginning = { parts, sources: stored.sources, model: stored.model ?? undefined, usage: toUsage(stored) }
  const count = stored.parts?.length ?? 0
  return { beginning, count, added: toParts(parts, responses), scope: stored.scope ?? undefined }
}

/** Makes the answer run again, adds the client's responses and returns its turn. Throws `ProblemError` 409. */
export async function continueTurn(
  { store, llm }: { store: Store; llm: Llm },
  answer: Answer,
  { beginning, count, added, scope }: Waiting,
): Promise<OpenTurn> {
  const { owner, key } = answer
  const [question, ...history] = await store.turns.history(owner, key.conversationId, key.answerId)
  if (!(await store.turns.continue(owner, key, count))) throw notWaiting() // last: a failure after it would leave it running
  for (const part of added) answer.add(part)
  const model = llm.chatModels.get(beginning.model ?? '') ?? llm.chat
  return { question: question?.content ?? '', files: listFiles(question?.parts), scope, history, model }
}

function toUsage({ inputTokens, outputTokens, cachedTokens }: WaitingAnswer): Usage | undefined {
  if (inputTokens === null || outputTokens === null) return undefined
  return { inputTokens, outputTokens, ...(cachedTokens !== null && { cachedInputTokens: cachedTokens }) }
}

function notWaiting(): ProblemError {
  const detail = 'This answer does not wait for a tool. Send a message from the user instead.'
  return new ProblemError(409, 'answer_not_waiting', detail)
}

/** Returns the parts for the responses to all calls that are open. */
function toParts(parts: AnswerPart[], responses: ToolResponse[]): OtherPart[] {
  return listOpenCalls(parts).flatMap(({ toolCallId, toolName }) => {
    const response = responses.find((response) => response.toolCallId === toolCallId)
    const part = response && toPart(parts, response)
    if (part) return checkLength(part)
    if (response && isRepeated(parts, response)) return []
    const detail = `The output of ${toolName} (${toolCallId}), or the approval of its call, is missing. Send it.`
    throw new ProblemError(400, 'tool_output_missing', detail)
  })
}

/** Returns undefined for a response that does not fit: an output of a call that needs approval, or the reverse. */
function toPart(parts: AnswerPart[], response: ToolResponse): OtherPart | undefined {
  const { toolCallId } = response
  const approvalId = findApprovalId(parts, toolCallId)
  if (response.state === 'approval-responded') {
    const { id, approved, reason } = response.approval
    if (id !== approvalId) return undefined
    return { type: 'approval-response', approvalId, approved, ...(reason && { reason: toStorableText(reason) }) }
  }
  if (approvalId) return undefined
  if (response.state === 'output-error')
    return { type: 'tool-error', toolCallId, errorText: toStorableText(response.errorText) }
  return { type: 'tool-result', toolCallId, output: toStorableJson(response.output) }
}

/** Returns whether an approval arrived before. A client may send it again if it has not seen that it has to run the call. */
function isRepeated(parts: AnswerPart[], response: ToolResponse): boolean {
  if (response.state !== 'approval-responded') return false
  const { id, approved } = response.approval
  return parts.some((part) => part.type === 'approval-response' && part.approvalId === id && part.approved === approved)
}

/** Returns the id of a request for approval that has no response yet. */
function findApprovalId(parts: AnswerPart[], toolCallId: string): string | undefined {
  const answered = new Set(parts.flatMap((part) => (part.type === 'approval-response' ? part.approvalId : [])))
  return parts
    .flatMap((part) => (part.type === 'approval-request' && part.toolCallId === toolCallId ? part.approvalId : []))
    .find((id) => !answered.has(id))
}

function checkLength(part: OtherPart): OtherPart {
  if (JSON.stringify(part).length <= maxOutputLength) return part
  const detail = `The output of a tool exceeds ${maxOutputLength} characters. Send less.`
  throw new ProblemError(413, 'message_too_large', detail)
}
