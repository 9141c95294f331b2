import { setImmediate } from 'node:timers/promises'
import type { PastMessage, Scope, Store, StoredFile, UsageRecorder } from '@repo/db'
import { type ChatModel, type ChatRequest, type Fallback, type Passage, streamWithFallback } from '@repo/llm'
import { buildPrompt, rewriteQuestion, toChatMessages } from '@repo/rag'
import type { Answer, Outcome } from './answer.ts'
import { addUsages, createTimeoutError, type Finish, isTimeUp, toEnd, toOutcome } from './answer-end.ts'
import type { AnswerLimits } from './answer-limits.ts'
import { createAppender, listCallIds } from './append-event.ts'
import { startCounting } from './count-call.ts'
import { findPassages, readPassages } from './find-passages.ts'
import { assertTakesImages } from './question-parts.ts'
import { listOpenCalls, runTools, type ToolOptions } from './run-tools.ts'
import { describeTools } from './tools.ts'

export type WriteOptions = ToolOptions & {
  limits: AnswerLimits
  /** Model calls per answer. The last one may not call tools. */
  maxSteps: number
  /** Whether passages are searched for each question, by the model with a tool, or not at all. */
  retrieval: 'always' | 'tool' | 'off'
  systemPrompt?: string | undefined
  usage: Pick<UsageRecorder, 'count'>
  onFallback: (fallback: Fallback) => void
}

/** A stored question with its images and scope, the conversation before it, newest first, and the model to ask. */
export type OpenTurn = {
  question: string
  files?: StoredFile[] | undefined
  scope?: Scope | undefined
  /** The organization whose shared documents the answer may be found in too. */
  organization?: string | undefined
  history: PastMessage[]
  model: ChatModel
}

/**
 * Fills the answer: retrieves passages, builds the prompt, streams the model's output and runs the tools that it calls. No
 * step waits for a client, and no connection is held while the model or a tool runs. Never rejects: every failure is an
 * outcome.
 */
export async function writeAnswer(options: WriteOptions, answer: Answer, turn: OpenTurn): Promise<Outcome> {
  const usages = [answer.beginning.usage]
  try {
    return await writeSteps(options, answer, turn, usages)
  } catch (error) {
    const isTimeout = isTimeUp(error) && answer.deltas === 0
    return toOutcome(isTimeout ? createTimeoutError() : error, addUsages(usages))
  }
}

/**
 * Calls the model and the tools that it asks for, in turn, until it answers or its client has to act. Adds the usage of
 * each call to `usages`.
 */
async function writeSteps(
  options: WriteOptions,
  answer: Answer,
  turn: OpenTurn,
  usages: Finish['usage'][],
): Promise<Outcome> {
  assertTakesImages(turn, turn.model, options.llm.chatModels) // the images may have been stored with the question
  const passages = await retrieve(options, answer, turn)
  const { contextTokens, capabilities } = turn.model
  const readImage = capabilities.images ? createImageReader(options.store, answer.owner) : undefined
  const prompt = buildPrompt({ ...turn, systemPrompt: options.systemPrompt, passages, contextTokens, readImage })
  const cited = [...(passages ?? [])]
  const tools = capabilities.tools ? describeTools(options.tools) : []
  const pastCalls = turn.history.flatMap(({ parts }) => listCallIds(parts ?? []))
  let model = turn.model
  for (;;) {
    const isWaiting = await runTools(options, answer, { ...turn, cited })
    if (isWaiting) return { end: toEnd({ finishReason: 'tool-calls', usage: addUsages(usages) }) }
    const mustAnswer = tools.length === 0 || countSteps(answer) + 1 >= options.maxSteps
    const messages = [...prompt, ...toChatMessages(answer.parts)]
    if (tools.length > 0) answer.add({ type: 'step-start' })
    const request = { messages, passages: cited, question: turn.question, tools, mustAnswer }
    const { finish, writer } = await writeStep(options, answer, {
      model,
      isFirst: countSteps(answer) <= 1,
      pastCalls,
      request,
    })
    model = writer
    usages.push(finish.usage)
    if (finish.finishReason !== 'tool-calls') return { end: toEnd({ ...finish, usage: addUsages(usages) }) }
  }
}

function createImageReader({ messageFiles }: Store, owner: string) {
  return async (file: StoredFile) => {
    let url = ''
    for await (const piece of messageFiles.readUrl(owner, file)) url += piece
    return url
  }
}

function countSteps({ parts }: Answer): number {
  return parts.filter(({ type }) => type === 'step-start').length
}

type Step = {
  model: ChatModel
  isFirst: boolean
  pastCalls: string[]
  request: Omit<ChatRequest, 'signal'> & { mustAnswer: boolean }
}
type Written = { finish: Finish; writer: ChatModel }

/** Appends the output of one model call. Returns how it ended, and the model that wrote it. */
async function writeStep(options: WriteOptions, answer: Answer, step: Step): Promise<Written> {
  const { model: writer, events } = await openStream(options, answer, step)
  const { mustAnswer } = step.request
  const { limits } = options
  const maxTokens = writer.maxAnswerTokens ?? limits.maxTokens
  const append = createAppender({ ...limits, maxTokens }, answer, { mustAnswer, pastCalls: step.pastCalls })
  answer.accept()
  if (step.isFirst) await setImmediate() // a client that waited for this joins; the first events may have arrived already
  let finish: Finish = { finishReason: 'other' }
  const end = startCounting(options.usage, answer, writer, step.request)
  try {
    for await (const batch of events) {
      for (const event of batch) {
        if (event.type === 'finish') finish = event
        else if (!append(event)) return { finish: { finishReason: 'length' }, writer } // leaving the loop cancels the call
      }
      if (answer.backlog.isFull()) await answer.backlog.untilRoom()
    }
  } finally {
    end(finish.usage)
  }
  const hasNone = mustAnswer || listOpenCalls(answer.parts).length === 0 // some servers announce calls and send none
  const isWrong = hasNone && finish.finishReason === 'tool-calls'
  return { finish: isWrong ? { ...finish, finishReason: 'other' } : finish, writer }
}

/** Calls the model. Its fallback may take over in the first step, as long as the client has seen no word. */
async function openStream({ llm, onFallback }: WriteOptions, answer: Answer, { model, isFirst, request }: Step) {
  const { signal } = answer.controller
  const open = (called: ChatModel) => {
    answer.model = called.name
    return called.stream({ ...request, tools: called.capabilities.tools ? (request.tools ?? []) : [], signal })
  }
  if (!isFirst) return { model, events: await open(model) }
  const hasImages = request.messages.some((message) => 'images' in message)
  const models = hasImages ? keepImageModels(llm.chatModels) : llm.chatModels
  return streamWithFallback({ models, onFallback }, model, open)
}

function keepImageModels(models: ReadonlyMap<string, ChatModel>): ReadonlyMap<string, ChatModel> {
  return new Map([...models].filter(([, { capabilities }]) => capabilities.images))
}

/** Returns the passages for a question, or undefined if it is not searched for. An answer that goes on keeps its own. */
async function retrieve(
  { store, searchPassages, retrieval }: WriteOptions,
  answer: Answer,
  { question, scope, organization, history, model }: OpenTurn,
): Promise<Passage[] | undefined> {
  const { owner, controller } = answer
  if (retrieval === 'off') return []
  if (retrieval === 'tool' && model.capabilities.tools) return undefined
  if (answer.parts.length > 0) return readPassages(store, organization, answer)
  if (question.trim() === '') return [] // images alone: there is nothing to search for
  const asked = history.flatMap(({ role, content }) => (role === 'user' && content !== '' ? [content] : [])).reverse()
  const searchText = rewriteQuestion([...asked, question])
  const options = { scope, organization, signal: controller.signal, keyId: answer.keyId }
  const { passages, sources, degraded } = await findPassages(searchPassages, owner, searchText, options)
  if (degraded) answer.degrade(degraded)
  answer.sources = sources
  if (sources.length > 0) answer.add({ type: 'sources', count: sources.length })
  return passages
}
