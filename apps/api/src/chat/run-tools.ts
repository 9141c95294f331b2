import { randomUUID } from 'node:crypto'
import { type AnswerPart, type Db, type Json, type Scope, type Store, toStorableJson, toStorableText } from '@repo/db'
import type { Llm, Passage } from '@repo/llm'
import type { RetrievedPassage } from '@repo/rag'
import { describeError, type TraceWork } from '@repo/telemetry'
import type { FastifyBaseLogger } from 'fastify'
import type { Answer, OtherPart } from './answer.ts'
import { toSource } from './find-passages.ts'
import type { SearchPassages } from './search-passages.ts'
import { type ToolContext, ToolError, type Tools } from './tools.ts'

export type ToolOptions = {
  tools: Tools
  db: Db
  store: Store
  llm: Llm
  searchPassages: SearchPassages
  log: FastifyBaseLogger
  trace: TraceWork
  /** Default: 10 s. A search takes 50 ms, and users wait no longer without seeing words. */
  deadlineMs?: number
}

/** The documents that an answer may be found in, and the passages that it may cite so far. */
export type ToolTurn = { scope?: Scope | undefined; organization?: string | undefined; cited: Passage[] }

type Call = Extract<AnswerPart, { type: 'tool-call' }>

const maxErrorLength = 4000 // UTF-16 units: about 1,000 tokens; a model needs no more to try again
export const maxOutputLength = 64_000 // UTF-16 units of JSON: about 16,000 tokens

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
    const output = await options.trace('execute_tool', toolName, () => runWithin(options, answer, turn, run))
    return { type: 'tool-result', toolCallId, output: toStorable(output) }
  } catch (error) {
    answer.controller.signal.throwIfAborted()
    if (!(error instanceof ToolError)) options.log.warn({ tool: toolName, error: describeError(error) }, 'tool failed')
    const errorText = error instanceof ToolError ? error.message : 'The tool failed.'
    return { type: 'tool-error', toolCallId, errorText: toStorableText(errorText.slice(0, maxErrorLength)) }
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

async function runWithin(
  { db, store, llm, searchPassages, deadlineMs = 10_000 }: ToolOptions,
  answer: Answer,
  { scope, organization, cited }: ToolTurn,
  run: (context: ToolContext) => Promise<Json>,
): Promise<Json> {
  const late = AbortSignal.timeout(deadlineMs)
  const signal = AbortSignal.any([answer.controller.signal, late])
  const aborted = Promise.withResolvers<never>()
  const abort = () =>
    aborted.reject(
      late.aborted ? new ToolError(`The tool did not finish within ${deadlineMs / 1000} s.`) : signal.reason,
    )
  signal.addEventListener('abort', abort, { once: true })
  let isOver = false
  const cite = (found: RetrievedPassage[]) => {
    if (isOver) throw new ToolError('The call has ended.') // its handler went on after its deadline
    return addSources(answer, cited, found)
  }
  try {
    signal.throwIfAborted()
    const context = { owner: answer.owner, organization, scope, db, store, llm, searchPassages, signal, cite }
    return await Promise.race([run(context), aborted.promise])
  } finally {
    isOver = true
    signal.removeEventListener('abort', abort)
  }
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
