import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { ConfigError } from './config-error.ts'
import { secret } from './values.ts'

/** A chat model that a request may choose, with its server and key. `name` is what clients send. */
export type ChatModelConfig = Omit<
  z.output<typeof ChatModelEntry>,
  'images' | 'tools' | 'reasoning' | 'keyVariable'
> & {
  model: string
  baseUrl: string
  apiKey?: string | undefined
  capabilities: { images: boolean; tools: boolean; reasoning: boolean }
}

type Entry = z.output<typeof ChatModelEntry>
type Defaults = { OPENAI_BASE_URL: string; CHAT_MODEL?: string | undefined }
type Environment = Record<string, string | undefined>
/** `source` is how messages call the list: `CHAT_MODELS`, or the path of the file. */
type List = { source: string; entries: Entry[] }

const text = z.string('must be a text in quotes').min(1, 'must be a text in quotes')
const flag = z.boolean('must be true or false')
const count = z.int('must be a whole number').min(1, 'must be at least 1').max(1_000_000_000, 'must be a whole number')

const ChatModelEntry = z.strictObject({
  name: text.max(200, 'must have at most 200 characters'),
  model: text.optional(),
  baseUrl: z.url({ protocol: /^https?$/, error: 'must be a URL like https://api.openai.com/v1' }).optional(),
  keyVariable: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/, 'must be the name of a variable like GROQ_API_KEY, never the key itself')
    .optional(),
  images: flag.default(true),
  tools: flag.default(true),
  reasoning: flag.default(false),
  contextTokens: count.optional(),
  maxAnswerTokens: count.optional(),
  fallback: text.optional(),
  api: text.optional(), // packages/llm knows which ones there are
})
const Entries = z.array(ChatModelEntry)

/**
 * Returns the chat models of `CHAT_MODELS` or `CHAT_MODELS_FILE`. `CHAT_MODEL` is one of them if it is set. Throws
 * `ConfigError`.
 */
export function readChatModels(config: Defaults, environment: Environment): ChatModelConfig[] {
  const list = readList(environment)
  const { CHAT_MODEL: name } = config
  const isListed = list.entries.some((entry) => entry.name === name)
  const own = name && !isListed ? [ChatModelEntry.parse({ name })] : []
  assertNames(list, [...own, ...list.entries])
  const models = list.entries.map((entry, index) => toModel(entry, `${list.source}[${index}]`, config, environment))
  return [...own.map((entry) => toModel(entry, '', config, environment)), ...models]
}

function readList({ CHAT_MODELS: value, CHAT_MODELS_FILE: path }: Environment): List {
  if (value !== undefined && path !== undefined)
    throw new ConfigError(['CHAT_MODELS_FILE must be unset with CHAT_MODELS'])
  if (path !== undefined) return { source: path, entries: checkEntries(parseJson(readFile(path), path), path) }
  if (value === undefined) return { source: 'CHAT_MODELS', entries: [] }
  const data = /^\s*[[{]/.test(value) ? parseJson(value, 'CHAT_MODELS') : splitNames(value)
  return { source: 'CHAT_MODELS', entries: checkEntries(data, 'CHAT_MODELS') }
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/^\uFEFF/, '')
  } catch {
    throw new ConfigError(['CHAT_MODELS_FILE must be the path of a readable JSON file'])
  }
}

function splitNames(value: string): { name: string }[] {
  const names = value.split(',').map((name) => name.trim())
  return names.filter(Boolean).map((name) => ({ name }))
}

function checkEntries(value: unknown, source: string): Entry[] {
  const { data, error } = Entries.safeParse(value, { reportInput: true })
  if (data) return data
  const [issue] = error.issues
  throw new ConfigError([`${source}${toPath(issue?.path ?? [])} ${describeIssue(issue)}`])
}

/** A parser's own message would quote the text. */
function parseJson(json: string, source: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new ConfigError([`${source} must be valid JSON like [{"name": "gpt-5"}]`])
  }
}

function toPath(path: PropertyKey[]): string {
  return path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('')
}

function describeIssue(issue: z.core.$ZodIssue | undefined): string {
  if (issue?.code === 'unrecognized_keys')
    return `has the unknown key ${issue.keys.join(', ')}. Use ${Object.keys(ChatModelEntry.shape).join(', ')}`
  if (issue?.code !== 'invalid_type') return issue?.message ?? 'is invalid'
  if (issue.path.length === 0) return 'must be a JSON list like [{"name": "gpt-5"}]'
  if (issue.path.length === 1) return 'must be an object like {"name": "gpt-5"}'
  return issue.input === undefined ? `is not set. It ${issue.message}` : issue.message
}

/** Checks that names differ, and that each fallback exists and leads to an end. */
function assertNames({ source, entries }: List, all: Entry[]): void {
  const fallbacks = new Map(all.map(({ name, fallback }) => [name, fallback]))
  for (const [index, { name, fallback }] of entries.entries()) {
    const at = `${source}[${index}]`
    if (entries.findIndex((entry) => entry.name === name) < index)
      throw new ConfigError([`${at}.name must differ from the other names: ${name} is used twice`])
    if (fallback === undefined) continue
    if (!fallbacks.has(fallback))
      throw new ConfigError([`${at}.fallback must be the name of a listed model: ${[...fallbacks.keys()].join(', ')}`])
    if (returnsTo(name, fallbacks))
      throw new ConfigError([`${at}.fallback must not lead back to ${name}. Remove one fallback of this circle`])
  }
}

function returnsTo(start: string, fallbacks: Map<string, string | undefined>): boolean {
  const seen = new Set<string>()
  for (let name = fallbacks.get(start); name !== undefined && !seen.has(name); name = fallbacks.get(name)) {
    if (name === start) return true
    seen.add(name)
  }
  return false
}

/** A key is sent to its own server only: `OPENAI_API_KEY` to `OPENAI_BASE_URL`, any other to the server beside it. */
function toModel(entry: Entry, at: string, config: Defaults, environment: Environment): ChatModelConfig {
  const { images, tools, reasoning, keyVariable, ...rest } = entry
  const { model = entry.name, baseUrl = config.OPENAI_BASE_URL } = entry
  const isDefaultServer = trimSlash(baseUrl) === trimSlash(config.OPENAI_BASE_URL)
  const variable = keyVariable ?? (isDefaultServer ? 'OPENAI_API_KEY' : undefined)
  const apiKey = variable && environment[variable]
  if (keyVariable && !apiKey)
    throw new ConfigError([`${keyVariable} is not set. It must be the key of ${at} (${entry.name})`])
  const { error } = secret.safeParse(apiKey)
  if (error) throw new ConfigError([`${variable} ${error.issues[0]?.message}`])
  if (!apiKey && new URL(baseUrl).hostname === 'api.openai.com')
    throw new ConfigError([describeMissingKey(variable, at)])
  return { ...rest, model, baseUrl, ...(apiKey && { apiKey }), capabilities: { images, tools, reasoning } }
}

function describeMissingKey(variable: string | undefined, at: string): string {
  return variable
    ? `${variable} is required for api.openai.com. Set it, or set OPENAI_BASE_URL to another server`
    : `${at}.keyVariable is required for api.openai.com. Set it to the name of the variable with the key`
}

const trimSlash = (url: string) => url.replace(/\/+$/, '')
