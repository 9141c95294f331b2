import type { Config } from '@repo/config'
import type { Db, Json, Scope, Store } from '@repo/db'
import type { Llm, Passage, ToolDefinition } from '@repo/llm'
import type { RetrievedPassage } from '@repo/rag'
import { z } from 'zod'
import { loadFiles } from '../load-files.ts'
import type { SearchPassages } from './search-passages.ts'

/** What a tool may use. Never await the network inside a transaction: it throws `ConnectionHeldError`. */
export type ToolContext = {
  /** Whose question is answered. Pass it to every query. */
  owner: string
  /** The organization whose shared documents the owner may read. Pass it to queries on documents. */
  organization: string | undefined
  /** The documents that the answer may be found in. Undefined: all of the owner's. */
  scope: Scope | undefined
  db: Db
  store: Store
  llm: Llm
  /** Finds the best passages for a question. `degraded` in the result says that the embedding model failed. */
  searchPassages: SearchPassages
  /** Aborted at the tool's deadline, and when the answer ends. */
  signal: AbortSignal
  /** Adds passages to the sources of the answer, and returns them with the number by which the model may cite each. */
  cite: (passages: RetrievedPassage[]) => Passage[]
}

/** A tool as its file defines it. `Input` is what `input` returns. */
export type ToolOptions<Input> = {
  /** Tells the model what the tool does and when to call it. */
  description: string
  input: z.ZodType<Input>
  /** Runs the tool. Without it, the answer waits until the client sends the output (`addToolOutput` of `useChat`). */
  handler?: (context: ToolContext, input: Input) => Promise<Json>
  /** Whether the user has to approve a call before it runs (`addToolApprovalResponse` of `useChat`). Default: no. */
  needsApproval?: boolean | ((input: Input) => boolean)
  /** Whether the chat's model is offered the tool with these settings. Default: always. */
  isOffered?: (config: Config) => boolean
  /** Whether MCP clients are offered the tool too, with any settings. It needs a handler. Default: no. */
  mcp?: boolean
}

/** What a call of a tool needs, once its input has been checked. */
type CheckedCall = {
  needsApproval: boolean
  /** Undefined if the client runs the tool. */
  run?: ((context: ToolContext) => Promise<Json>) | undefined
}

export type Tool = Pick<ToolOptions<never>, 'description' | 'isOffered' | 'mcp'> & {
  parameters: object
  /** Throws a `ToolError` if the input does not match the tool's schema. */
  check: (input: unknown) => CheckedCall
}

export type Tools = ReadonlyMap<string, Tool>

/** A problem with a call. The model and the user see its message, so it says what to do and contains no secret. */
export class ToolError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ToolError'
  }
}

/** Defines a tool. Export it by default from a file in `tools/`, whose name becomes the tool's: see `tools/README.md`. */
export function defineTool<Input>({
  input: schema,
  handler,
  needsApproval = false,
  ...tool
}: ToolOptions<Input>): Tool {
  return {
    ...tool,
    parameters: z.toJSONSchema(schema, { io: 'input' }),
    check: (given) => {
      const { data, error } = schema.safeParse(given)
      if (error) throw new ToolError(`The input is invalid. ${z.prettifyError(error)}`)
      return {
        needsApproval: typeof needsApproval === 'function' ? needsApproval(data) : needsApproval,
        run: handler && ((context) => handler(context, data)),
      }
    },
  }
}

/** Returns the tools of a folder's files by their names. `load` imports a file by its name. */
export async function loadTools(
  files: string[],
  load: (name: string) => Promise<{ default?: unknown }>,
): Promise<Tools> {
  const tools = new Map<string, Tool>()
  await loadFiles(
    files,
    load,
    (file, exported) => {
      if (!isTool(exported)) return 'No tool found. Add `export default defineTool({ … })`.'
      tools.set(file.replaceAll('-', '_'), exported)
      return undefined
    },
    (file) => `tools/${file} cannot be used`,
  )
  return tools
}

/** Returns the tools that the chat's model is offered with these settings. */
export function selectOffered(tools: Tools, config: Config): Tools {
  return new Map([...tools].filter(([, { isOffered }]) => isOffered?.(config) !== false))
}

function isTool(value: unknown): value is Tool {
  return typeof value === 'object' && value !== null && 'check' in value && 'parameters' in value
}

/** Returns tools as a model sees them. */
export function describeTools(tools: Tools): ToolDefinition[] {
  return [...tools].map(([name, { description, parameters }]) => ({ name, description, parameters }))
}
