import type { AnswerEvent, CompletionRequest, Models, Passage } from '@repo/llm'

const dimensions = 384 // as wide as the vectors of the test databases
const usage = { prompt_tokens: 2, completion_tokens: 2, total_tokens: 4 }

/** Models without a network: an embedder that counts parts of words, and a chat model that quotes the first passage. */
export function createTestModels(): Models {
  const name = `test-${dimensions}`
  const described = { id: 'test', created: 0, model: 'test' }
  const toChunk = (delta: object, finish_reason: string | null = null) =>
    JSON.stringify({ ...described, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason }] })
  return {
    chat: {
      name: 'test',
      capabilities: { images: false, tools: false, reasoning: false },
      stream: async ({ passages }) => streamEvents(quote(passages)),
    },
    embedder: {
      name,
      embed: async (texts, signal) => {
        signal?.throwIfAborted()
        return texts.map(embedText)
      },
      embedQuery: async (text, signal) => {
        signal?.throwIfAborted()
        return JSON.stringify(embedText(text))
      },
    },
    completions: {
      name: 'test',
      complete: async ({ passages }) => {
        const choices = [{ index: 0, message: { role: 'assistant', content: quote(passages) }, finish_reason: 'stop' }]
        return { ...described, object: 'chat.completion', choices, usage }
      },
      stream: async ({ passages }: CompletionRequest) =>
        streamBatch([toChunk({ role: 'assistant', content: quote(passages) }), toChunk({}, 'stop')]),
    },
    embeddings: {
      name,
      create: async ({ input }) => {
        const data = [input].flat().map((text, index) => ({ object: 'embedding', index, embedding: embedText(text) }))
        return { object: 'list', data, model: name, usage: { prompt_tokens: data.length, total_tokens: data.length } }
      },
    },
  }
}

function quote([first]: Passage[]): string {
  return first ? `${first.text.split('\n').at(-1)} [${first.n}]` : 'The documents do not say.'
}

async function* streamEvents(text: string): AsyncGenerator<AnswerEvent[]> {
  for (const word of text.match(/\s*\S+/g) ?? []) yield [{ type: 'text-delta', text: word }]
  yield [{ type: 'finish', finishReason: 'stop', usage: { inputTokens: 2, outputTokens: 2 } }]
}

async function* streamBatch<T>(batch: T[]): AsyncGenerator<T[]> {
  yield batch
}

/** Returns a vector of length 1 that counts words and groups of three letters. */
function embedText(text: string): number[] {
  const vector = Array.from({ length: dimensions }, () => 0)
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []) {
    const grams = Array.from({ length: Math.max(word.length - 2, 0) }, (_, at) => word.slice(at, at + 3))
    for (const feature of [word, ...grams]) {
      const axis = [...feature].reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) % dimensions, 7)
      vector[axis] = (vector[axis] ?? 0) + (feature === word ? 1 : 0.2)
    }
  }
  const length = Math.hypot(...vector) || 1
  return vector.map((value) => value / length)
}
