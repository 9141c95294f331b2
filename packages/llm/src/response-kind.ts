import { parseJson } from './json.ts'
import { LlmError } from './llm.ts'

/** Returns the error of a response in another format. It names the kind of the response and quotes nothing of it. */
export function createFormatError(text: string, expected: string): LlmError {
  return new LlmError('model_protocol', `the model server sent ${nameKind(text)} instead of ${expected}`)
}

function nameKind(text: string): string {
  const start = text.trimStart()
  if (start === '') return 'an empty response'
  if (start.startsWith('<')) return 'an HTML page'
  return parseJson(text) === undefined ? 'text that is not JSON' : 'JSON with another schema'
}
