import type { PastMessage, Scope } from '@repo/db'
import type { ChatRequest, Passage, ToolDefinition } from '@repo/llm'
import { buildPrompt, rewriteQuestion, toChatMessages } from '@repo/rag'
import type { Answer, Outcome } from './answer.ts'
import { addUsages, createTimeoutError, type Finish, isTimeUp, toEnd, toOutcome } from './answer-end.ts'
import type { AnswerLimits } from './answer-limits.ts'
import { createAppender } from './append-event.ts'
import { findPassages, readPassages } from './find-passages.ts'
import { runTools, type ToolOptions } from './run-tools.ts'
import { describeTools } from './tools.ts'

export type WriteOptions = ToolOptions & {
  limits: AnswerLimits
  /** Model calls per answer. The last one may not call tools. */
  maxSteps: number
  /** Whether passages are searched for each question, by the model with a tool, or not at all. */
  retrieval: 'always' | 'tool' | 'off'
  systemPrompt?: string | undefined
}

/** A stored question with its scope, and the conversation before it, newest first. */
export type OpenTurn = { question: string; scope?: Scope | undefined; history: PastMessage[] }

/**
 * Fills the answer: retrieves passages, builds the prompt, streams the model's output and runs the tools that it calls. No
 * step waits for a client, and no connection is held while the model or a tool runs. Never rejects: every failure is an
 * outcome.
 */
export async function writeAnswer(options: WriteOptions, answer: Answer, turn: OpenTurn): Promise<Outcome> {
  try {
    return await writeSteps(options, answer, turn)
  } catch (error) {
    const isTimeout = isTimeUp(error) && answer.deltas === 0
    return toOutcome(isTimeout ? createTimeoutError() : error)
  }
}

/** Calls the model and the tools that it asks for, in turn, until it answers or its client has to act. */
async function writeSteps(options: WriteOptions, answer: Answer, turn: OpenTurn): Promise<Outcome> {
  const passages = await retrieve(options, answer, turn)
  const prompt = buildPrompt({ ...turn, systemPrompt: options.systemPrompt, passages })
  const cited = [...(passages ?? [])]
  const tools = describeTools(options.tools)
  const usages: Finish['usage'][] = []
  for (;;) {
    const isWaiting = await runTools(options, answer, { cited, scope: turn.scope })
    if (isWaiting) return { end: toEnd({ finishReason: 'tool-calls', usage: addUsages(usages) }) }
    const mustAnswer = tools.length === 0 || countSteps(answer) + 1 >= options.maxSteps
    const messages = [...prompt, ...toChatMessages(answer.parts)]
    if (tools.length > 0) answer.add({ type: 'step-start' })
    const { question } = turn
    const finish = await writeStep(options, answer, { messages, passages: cited, question, tools, mustAnswer })
    usages.push(finish.usage)
    const isOver = finish.finishReason !== 'tool-calls'
    if (isOver) return { end: toEnd({ ...finish, usage: addUsages(usages) }) }
  }
}

function countSteps({ parts }: Answer): number {
  return parts.filter(({ type }) => type === 'step-start').length
}

type Step = Pick<ChatRequest, 'messages' | 'passages' | 'question'> & { tools: ToolDefinition[]; mustAnswer: boolean }

/** Appends the output of one model call. Returns how it ended. */
async function writeStep({ llm, limits }: WriteOptions, answer: Answer, step: Step): Promise<Finish> {
  const events = await llm.chat.stream({ ...step, signal: answer.controller.signal })
  answer.accept()
  const append = createAppender(limits, answer, step)
  let finish: Finish = { finishReason: 'other' }
  for await (const batch of events) {
    for (const event of batch) {
      if (event.type === 'finish') finish = event
      else if (!append(event)) return { finishReason: 'length' } // leaving the loop cancels the model call
    }
    if (answer.backlog.isFull()) await answer.backlog.untilRoom()
  }
  const disobeys = step.mustAnswer && finish.finishReason === 'tool-calls'
  return disobeys ? { ...finish, finishReason: 'other' } : finish
}

/** Returns the passages for a question, or undefined if it is not searched for. An answer that goes on keeps its own. */
async function retrieve(
  { store, llm, retrieval }: WriteOptions,
  answer: Answer,
  { question, scope, history }: OpenTurn,
): Promise<Passage[] | undefined> {
  const { owner, controller } = answer
  if (retrieval === 'off') return []
  if (retrieval === 'tool') return undefined
  if (answer.parts.length > 0) return readPassages(store, owner, answer)
  const asked = history.flatMap(({ role, content }) => (role === 'user' ? [content] : [])).reverse()
  const searchText = rewriteQuestion([...asked, question])
  const { signal } = controller
  const { passages, sources } = await findPassages({ store, embedder: llm.embedder }, owner, searchText, {
    scope,
    signal,
  })
  answer.sources = sources
  if (sources.length > 0) answer.add({ type: 'sources', count: sources.length })
  return passages
}
