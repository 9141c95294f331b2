import type { DoctorConfig } from '@repo/config'
import { countByEmbedder, countWithoutEmbedder, hasEmbeddingIndex } from '@repo/db/inspect'
import type { Embedder, Llm } from '@repo/llm'
import { createModels } from '@repo/models'
import { targetPooler } from './database.ts'
import { type Finding, fail, given, ok, warn } from './examine.ts'

export function checkChat(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return withModels(config, async ({ chat }) => {
    const enough = new AbortController()
    const messages = [{ role: 'user' as const, content: 'Say yes.' }]
    await chat.stream({ messages, passages: [], signal: AbortSignal.any([signal, enough.signal]) })
    enough.abort() // that it began to answer is all there is to know
    return [ok(`${chat.name} answers`)]
  })
}

export function checkEmbedder(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return withModels(config, async ({ embedder }) => {
    return [ok(`${embedder.name} answers, with vectors of ${await measureWidth(embedder, signal)} dimensions`)]
  })
}

export function checkStoredVectors(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return withModels(config, async ({ embedder: { name } }) => {
    const target = targetPooler(config, signal)
    const models = (await countByEmbedder(target)).map(({ model }) => model)
    const others = [...new Set(models)].filter((model) => model !== name).join(', ')
    if (others === '') return [ok(`all are of ${name}`)]
    const lacking = await countWithoutEmbedder(target, name)
    if (lacking === 0) return [ok(`all documents have some of ${name}, beside those of ${others}`)]
    return [warn(`documents of ${others} (${lacking}) are found by their words alone`, '`npm run manage -- reindex`')]
  })
}

export function checkVectorIndex(config: DoctorConfig, signal: AbortSignal): Promise<Finding[]> {
  return withModels(config, async ({ embedder }) => {
    const target = targetPooler(config, signal)
    const width = await measureWidth(embedder, signal)
    const counts = await countByEmbedder(target)
    const misfit = counts.find(({ model, dimensions }) => model === embedder.name && dimensions !== width)
    if (misfit)
      return [
        fail(
          `stored vectors of ${embedder.name} have ${misfit.dimensions} dimensions, its new ones ${width}: searches fail`,
          `set EMBEDDING_DIMENSIONS=${width}, then \`npm run db:migrate\` and \`npm run manage -- reindex\``,
        ),
      ]
    return (await hasEmbeddingIndex(target, embedder.name, width))
      ? [ok(`there is one for ${embedder.name}`)]
      : [warn(`there is none for ${embedder.name}: searches slow down as documents grow`, '`npm run db:migrate`')]
  })
}

async function withModels<T>({ models }: DoctorConfig, work: (llm: Llm) => Promise<T>): Promise<T> {
  const llm = createModels(given(models, 'a variable of the models'))
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
