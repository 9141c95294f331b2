import type { DoctorConfig } from '@repo/config'
import { countByEmbedder, countWithoutEmbedder, hasEmbeddingIndex } from '@repo/db/inspect'
import type { ChatModel, Embedder, Llm } from '@repo/llm'
import { createModels } from '@repo/models'
import { getErrorMessage } from '../command.ts'
import { targetPooler } from './database.ts'
import { type Finding, fail, noResponse, ok, required, warn } from './examine.ts'

/** Checks that each chat model starts to answer. */
export function checkChat(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return withModels(config, ({ chatModels }) =>
    Promise.all([...chatModels.values()].map((model) => checkChatModel(model, signal))),
  )
}

async function checkChatModel({ name, stream }: ChatModel, signal: AbortSignal): Promise<Finding> {
  const stop = new AbortController()
  const messages = [{ role: 'user' as const, content: 'Say yes.' }]
  try {
    await stream({ messages, passages: [], signal: AbortSignal.any([signal, stop.signal]) })
    return ok(`${name} responds`)
  } catch (error) {
    const problem = signal.aborted ? noResponse : getErrorMessage(error)
    return fail(
      `${name}: ${problem}`,
      'set CHAT_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY, or its entry in CHAT_MODELS',
    )
  } finally {
    stop.abort() // the start of an answer is proof enough
  }
}

/** Warns of models that their servers do not list. */
export function checkListed(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return withModels(config, async ({ findUnlistedModels }) => {
    const problems = await findUnlistedModels(signal)
    return problems.map((problem) => warn(problem, 'correct CHAT_MODEL, CHAT_MODELS or EMBEDDING_MODEL'))
  })
}

/** Checks that the embedder returns a vector. */
export function checkEmbedder(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return withModels(config, async ({ embedder }) => {
    return [ok(`${embedder.name} responds with vectors of ${await measureWidth(embedder, signal)} dimensions`)]
  })
}

/** Checks that the reranker scores texts in time, if one is configured. */
export function checkReranker(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return withModels(config, async ({ reranker }) => {
    if (!reranker) return []
    await reranker.rerank('What is a pool?', ['A pool is a set of connections.', 'It rains.'], 2, signal)
    return [ok(`${reranker.name} responds`)]
  })
}

/** Reports documents that have no vectors from the current embedder. */
export function checkStoredVectors(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return withModels(config, async ({ embedder: { name } }) => {
    const target = targetPooler(config, signal)
    const models = (await countByEmbedder(target)).map(({ model }) => model)
    const others = [...new Set(models)].filter((model) => model !== name).join(', ')
    if (others === '') return [ok(`all are from ${name}`)]
    const missing = await countWithoutEmbedder(target, name)
    if (missing === 0) return [ok(`every document has vectors from ${name}; some also have vectors from ${others}`)]
    return [
      warn(
        `documents indexed with ${others} (${missing}) are matched by keyword only`,
        'run `npm run manage -- reindex`',
      ),
    ]
  })
}

/** Checks that the current embedder has a vector index with the right number of dimensions. */
export function checkVectorIndex(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return withModels(config, async ({ embedder }) => {
    const target = targetPooler(config, signal)
    const width = await measureWidth(embedder, signal)
    const counts = await countByEmbedder(target)
    const mismatch = counts.find(({ model, dimensions }) => model === embedder.name && dimensions !== width)
    if (mismatch)
      return [
        fail(
          `stored vectors of ${embedder.name} have ${mismatch.dimensions} dimensions, new ones have ${width}: searches fail`,
          `set EMBEDDING_DIMENSIONS=${width}, then run \`npm run db:migrate\` and \`npm run manage -- reindex\``,
        ),
      ]
    return (await hasEmbeddingIndex(target, embedder.name, width))
      ? [ok(`${embedder.name} has one`)]
      : [warn(`${embedder.name} has none: searches slow down as documents grow`, 'run `npm run db:migrate`')]
  })
}

async function withModels<T>({ models }: DoctorConfig, work: (llm: Llm) => Promise<T>): Promise<T> {
  const llm = createModels(required(models, 'a model variable'))
  try {
    return await work(llm)
  } finally {
    llm.close()
  }
}

async function measureWidth(embedder: Embedder, signal: AbortSignal): Promise<number> {
  const [vector = []] = await embedder.embed(['How wide is a vector?'], signal)
  return vector.length
}
