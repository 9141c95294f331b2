import { randomUUID } from 'node:crypto'
import type { AnswerPart, Db, Scope, Store } from '@repo/db'
import type { Llm, Passage } from '@repo/llm'
import type { RetrievedPassage } from '@repo/rag'
import type { TraceWork } from '@repo/telemetry'
import type { FastifyBaseLogger } from 'fastify'
import type { Answer, OtherPart } from './answer.ts'
import { toSource } from './find-passages.ts'
import { runHandler, toErrorText } from './run-handler.ts'
import { type SearchPassages, withKey } from './search-passages.ts'
import { ToolError, type Tools } from './tools.ts'

export type ToolOptions = {
  tools: Tools
  db: Db
  store: Store
  llm: Llm
  searchPassages: SearchPassages
  log: FastifyBaseLogger
  trace: TraceWork
  /** The default is that of `runHandler`. */
  deadlineMs?: number
}

/** The documents that an answer may be found in, and the passages that it may cite so far. */
export type ToolTurn = { scope?: Scope | undefined; organization?: string | undefined; cited: Passage[] }

type Call = Extract<AnswerPart, { type: 'tool-call' }>

/**
 * Runs all calls of an answer that have no result yet, side by side, and adds their results as they arrive. A call that
 * fails becomes a `tool-error`, never a failure of the answer. Returns whether a call is left for the client.
 */
export async function runTools(options: ToolOptions, answer: Answer, turn: ToolTurn): Promise<boolean> {
  const isLeft = await Promise.all(
    listOpenCalls(answer.parts).map(async (call) => {
      const part = await settle(options, answer, turn, call)
      if (part) answer.add(part)
      return !part || part.type === 'approval-request' || part.type === 'client-call'
    }),
  )
  return isLeft.includes(true)
}

/** Returns the calls without a result. */
export function listOpenCalls(parts: readonly AnswerPart[]): Call[] {
  const settled = new Set(parts.flatMap((part) => (isResult(part) ? part.toolCallId : [])))
  return parts.flatMap((part) => (part.type === 'tool-call' && !settled.has(part.toolCallId) ? part : []))
}

function isResult(part: AnswerPart) {
  return part.type === 'tool-result' || part.type === 'tool-error' || part.type === 'tool-denied'
}

/** Returns what becomes of a call, or undefined if its client has to do something. */
async function settle(
  options: ToolOptions,
  answer: Answer,
  turn: ToolTurn,
  call: Call,
): Promise<OtherPart | undefined> {
  const { toolCallId, toolName, input } = call
  try {
    const tool = options.tools.get(toolName)
    if (!tool) throw new ToolError(`There is no tool named ${JSON.stringify(toolName)}.`)
    const { run, needsApproval } = tool.check(input)
    const approval = needsApproval ? findApproval(answer.parts, toolCallId) : { approved: true }
    if (!approval) return { type: 'approval-request', toolCallId, approvalId: randomUUID() }
    if (approval.approved === false) return { type: 'tool-denied', toolCallId }
    if (approval.approved === undefined) return undefined
    if (!run) return needsApproval ? { type: 'client-call', toolCallId } : undefined
    const { db, store, llm, deadlineMs } = options
    const searchPassages = withKey(options.searchPassages, answer.keyId)
    const { scope, organization, cited } = turn
    const { owner, controller } = answer
    const cite = (found: RetrievedPassage[]) => addSources(answer, cited, found)
    const { signal } = controller
    const context = { owner, organization, scope, db, store, llm, searchPassages, signal, cite }
    const output = await options.trace('execute_tool', toolName, () => runHandler(run, context, deadlineMs), input)
    return { type: 'tool-result', toolCallId, output }
  } catch (error) {
    answer.controller.signal.throwIfAborted()
    return { type: 'tool-error', toolCallId, errorText: toErrorText(error, toolName, options.log) }
  }
}

/** Returns the answer to a call's request for approval, an empty object while there is none, or undefined without a request. */
function findApproval(parts: readonly AnswerPart[], toolCallId: string): { approved?: boolean } | undefined {
  const request = parts.find((part) => part.type === 'approval-request' && part.toolCallId === toolCallId)
  if (request?.type !== 'approval-request') return undefined
  const isResponse = (part: AnswerPart) => part.type === 'approval-response' && part.approvalId === request.approvalId
  const response = parts.find(isResponse)
  return response?.type === 'approval-response' ? { approved: response.approved } : {}
}

/** Adds passages to the sources of an answer, each once, and returns them with their numbers. */
function addSources(answer: Answer, cited: Passage[], found: RetrievedPassage[]): Passage[] {
  const known = new Map(answer.sources.map(({ chunkId, n }) => [chunkId, n]))
  const added = found.filter(({ chunkId }) => !known.has(chunkId))
  for (const { chunkId } of added) known.set(chunkId, known.size + 1)
  const passages = found.map(({ chunkId, heading, text }) => ({ n: known.get(chunkId) ?? 0, title: heading, text }))
  if (added.length > 0) {
    answer.sources = [...answer.sources, ...added.map((passage) => toSource(passage, known.get(passage.chunkId) ?? 0))]
    answer.add({ type: 'sources', count: added.length })
  }
  cited.push(...passages.filter(({ n }) => !cited.some((passage) => passage.n === n)))
  return passages
}
