import { readdirSync } from 'node:fs'
import type { HttpClient } from './http/http-client.ts'
import type { ChatProvider } from './llm.ts'
import type { TokenLimit } from './token-limit.ts'

/** How chat models of one API are called. Export it by default from a file in `apis/`. `limit` is that of an answer. */
export type ChatApi = (http: HttpClient, model: string, limit?: TokenLimit) => ChatProvider

const files = readdirSync(new URL('./apis/', import.meta.url)).filter((file) => /(?<!\.test)\.ts$/.test(file))
const names = files.map((file) => file.replace('.ts', ''))

/** Returns a model of the API with this name. Its file is loaded by the first call. Throws if there is no such file. */
export function openChatApi(api: string, ...options: Parameters<ChatApi>): ChatProvider {
  const [, name] = options
  if (!names.includes(api)) {
    const choice = names.length > 0 ? `Use ${names.join(' or ')}, or leave it out.` : 'Leave it out.'
    throw new Error(`The chat model ${name} has the unknown api "${api}". ${choice}`)
  }
  return { name, stream: async (request) => (await load(api))(...options).stream(request) }
}

async function load(api: string): Promise<ChatApi> {
  const { default: open }: { default: ChatApi } = await import(`./apis/${api}.ts`)
  return open
}
