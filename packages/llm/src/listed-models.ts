import { readText } from './http/http-call.ts'
import type { HttpClient } from './http/http-client.ts'
import { isObject, parseJson } from './json.ts'
import { LlmError } from './llm.ts'

const shownNames = 5

/**
 * Returns one sentence per model that its server does not list in `GET /models`. Servers without such a list, and
 * llama.cpp with its only model, accept any name and are not reported. Rejects with the reason of `signal`.
 */
export async function findUnlistedModels(
  models: { model: string; http: HttpClient }[],
  signal: AbortSignal,
): Promise<string[]> {
  const lists = new Map<HttpClient, Promise<string[]>>()
  const findings = models.map(async ({ model, http }) => {
    const list = lists.get(http) ?? listModels(http, signal)
    lists.set(http, list)
    const names = await list
    if (names.length === 0 || names.some((name) => isSame(name, model))) return []
    const shown = names.slice(0, shownNames).join(', ')
    return [`The model server does not list ${model}. It lists ${shown}${names.length > shownNames ? ', …' : ''}.`]
  })
  return [...new Set((await Promise.all(findings)).flat())]
}

async function listModels(http: HttpClient, signal: AbortSignal): Promise<string[]> {
  try {
    const list = parseJson(await readText(await http.get('/models', signal)))
    const items = isObject(list) && Array.isArray(list.data) ? list.data.filter(isObject) : []
    if (items.length === 1 && items[0]?.owned_by === 'llamacpp') return []
    return items.flatMap(({ id }) => (typeof id === 'string' ? [id] : []))
  } catch (error) {
    if (error instanceof LlmError) return []
    throw error
  }
}

/** Gemini lists `models/NAME`, and Ollama `NAME:latest`. */
function isSame(listed: string, model: string): boolean {
  return [model, `models/${model}`, `${model}:latest`].includes(listed)
}
