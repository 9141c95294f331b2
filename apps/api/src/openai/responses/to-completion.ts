import type { z } from 'zod'
import { ProblemError } from '../../plugins/errors.ts'
import type { CompletionRequest } from '../routes.schemas.ts'
import type { ResponseRequest } from './routes.schemas.ts'

type CompletionBody = z.output<typeof CompletionRequest>
type Message = CompletionBody['messages'][number]
type Fields = Record<string, unknown>
type Item = Exclude<ResponseRequest['input'], string>[number]

/** What needs stored responses, or a service of OpenAI's. */
const unsupported: Record<string, string> = {
  previous_response_id: 'Responses are not stored. Send the whole conversation as `input`.',
  conversation: 'Conversations of OpenAI are not stored here. Send the whole conversation as `input`.',
  background: 'Responses are not stored, so none can be fetched later. Use `stream`.',
  prompt: 'There are no stored prompts. Send `instructions` and `input`.',
}

/** Describe the response, and mean nothing to a model. */
const ownFields = ['store', 'include', 'truncation', 'max_tool_calls', 'metadata', ...Object.keys(unsupported)]

/**
 * Returns the chat completion that a response asks for. Throws `ProblemError` (400) for what has no equivalent.
 * https://platform.openai.com/docs/guides/migrate-to-responses
 */
export function toCompletionBody({
  input,
  instructions,
  tools,
  text,
  reasoning,
  ...given
}: ResponseRequest): CompletionBody {
  for (const [name, advice] of Object.entries(unsupported)) if (given[name]) throw reject(name, advice)
  const rest = Object.fromEntries(
    Object.entries(given).filter(([name, value]) => value !== null && !ownFields.includes(name)),
  )
  const { format, verbosity }: Fields = text ?? {}
  return {
    ...rest,
    model: given.model,
    retrieval: given.retrieval,
    messages: toMessages(typeof input === 'string' ? [{ role: 'user', content: input }] : input, instructions),
    ...(tools && tools.length > 0 && { tools: tools.map(toTool) }),
    ...(given.tool_choice && { tool_choice: toToolChoice(given.tool_choice) }),
    ...(isObject(format) && format.type !== 'text' && { response_format: toFormat(format) }),
    ...(verbosity !== undefined && verbosity !== null && { verbosity }),
    ...(reasoning?.effort && { reasoning_effort: reasoning.effort }),
    ...(given.stream && { stream_options: { include_usage: true } }),
  }
}

function toTool({ type, ...described }: Fields, index: number): object {
  if (type === 'function') return { type, function: described }
  throw reject(`tools[${index}]`, `The tool \`${type}\` does not exist here. Use tools of type \`function\`.`)
}

function toToolChoice(choice: NonNullable<ResponseRequest['tool_choice']>): unknown {
  if (typeof choice === 'string') return choice
  if (choice.type === 'function') return { type: 'function', function: { name: choice.name } }
  throw reject('tool_choice', `\`${choice.type}\` cannot be chosen here. Name a function, or use \`auto\`.`)
}

function toFormat({ type, ...schema }: Fields): object {
  return type === 'json_schema' ? { type, json_schema: schema } : { type }
}

/** Leading instructions become one system message: templates of some models reject a second one. */
function toMessages(items: Item[], instructions: string | null | undefined): Message[] {
  const messages: Message[] = instructions ? [{ role: 'system', content: instructions }] : []
  let thoughts: string | undefined // belongs to the message or call that follows
  for (const [index, item] of items.entries()) {
    const path = `input[${index}]`
    if (item.type === 'reasoning') thoughts = readTexts(item.content)
    else if (item.type === 'function_call') addCall(messages, item, takeThoughts())
    else if (item.type === 'function_call_output') messages.push(toToolResult(item, path))
    else if ((item.type ?? 'message') === 'message') addMessage(messages, item, path, takeThoughts())
    else throw reject(path, `Items of type \`${item.type}\` are not supported. Leave it out.`)
  }
  return messages

  function takeThoughts() {
    const taken = thoughts ? { reasoning_content: thoughts } : {}
    thoughts = undefined
    return taken
  }
}

function addMessage(messages: Message[], { role, content }: Item, path: string, thoughts: object): void {
  if (!role) throw reject(`${path}.role`, 'A message needs a role, such as `user`.')
  if (role === 'assistant') {
    messages.push({ role, content: typeof content === 'string' ? content : readTexts(content), ...thoughts })
    return
  }
  const parts = Array.isArray(content)
    ? content.map((part, index) => toPart(part, `${path}.content[${index}]`))
    : content
  const [first] = messages
  const isInstruction = role === 'system' || role === 'developer'
  if (isInstruction && messages.length === 1 && first?.role === 'system' && typeof first.content === 'string')
    first.content = `${first.content}\n\n${typeof content === 'string' ? content : readTexts(content)}`
  else messages.push({ role, content: parts })
}

/** Calls of one turn belong to one message. */
function addCall(messages: Message[], { call_id: id, name, arguments: input }: Fields, thoughts: object): void {
  const call = { id, type: 'function', function: { name, arguments: input } }
  const last = messages.at(-1)
  if (last?.role !== 'assistant') messages.push({ role: 'assistant', content: null, tool_calls: [call], ...thoughts })
  else
    Object.assign(last, { tool_calls: [...(Array.isArray(last.tool_calls) ? last.tool_calls : []), call], ...thoughts })
}

function toToolResult({ call_id: id, output }: Fields, path: string): Message {
  const isText = (part: unknown) => isObject(part) && part.type === 'input_text'
  if (typeof output === 'string') return { role: 'tool', tool_call_id: id, content: output }
  if (Array.isArray(output) && output.every(isText))
    return { role: 'tool', tool_call_id: id, content: readTexts(output) }
  throw reject(`${path}.output`, 'The output of a function must be text.')
}

function toPart(part: unknown, path: string) {
  const { type, text, image_url: url, detail }: Fields = isObject(part) ? part : {}
  if (type === 'input_text' || type === 'output_text') return { type: 'text', text }
  if (type === 'input_image' && typeof url === 'string')
    return { type: 'image_url', image_url: { url, ...(typeof detail === 'string' && { detail }) } }
  if (type === 'input_image')
    throw reject(path, 'Uploaded images are not supported. Send `image_url`, also as a data URL.')
  throw reject(path, `Parts of type \`${type}\` are not supported. Upload files with POST /documents.`)
}

/** Returns the text of all parts that have one. */
function readTexts(parts: unknown): string {
  const texts = (Array.isArray(parts) ? parts : []).filter(isObject).map(({ text, refusal }) => text ?? refusal)
  return texts.filter((text) => typeof text === 'string').join('\n')
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null
}

function reject(param: string, advice: string): ProblemError {
  return new ProblemError(400, 'unsupported_parameter', `${param}: ${advice}`, { param })
}
