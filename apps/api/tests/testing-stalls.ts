import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { post } from '@repo/testing/ui-stream'
import { chunk, completion, sendChunks, sendJson } from '@repo/testing/upstream'

const tokenMs = 100 // the load of 200 streams is then a tenth of a core's capacity
const groups = 20

/** Starts a model's server. Answers to questions that contain `endless` never end; others have one word. */
export async function startEndlessModel() {
  const endless = new Set<ServerResponse>()
  const server = createServer(async (request, response) => {
    const body = await text(request)
    if (body.includes('endless please')) {
      endless.add(response)
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      response.on('close', () => endless.delete(response))
    } else if (body.includes('"stream":true')) sendChunks(chunk({ content: 'word' }), chunk({}, 'stop'))(response)
    else sendJson(completion({ content: 'word' }))(response)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const token = `data: ${JSON.stringify(chunk({ content: 'token ' }))}\n\n`
  let turn = 0
  // Sends to one group at a time, like real models. A burst to all would be a long turn by itself.
  const timer = setInterval(() => {
    turn = (turn + 1) % groups
    let index = 0
    for (const response of endless) if (index++ % groups === turn) response.write(token)
  }, tokenMs / groups)
  const leaving = new AbortController()
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return {
    env: { OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1`, CHAT_MODEL: 'endless' },
    /** Opens chats whose answers stream until `close`. Resolves when all are streaming. */
    openStreams: async (url: string, headers: Record<string, string>, count: number) => {
      const open = async () => {
        const response = await post(`${url}/chat`, headers, { message: 'endless please' }, leaving.signal)
        response.body?.pipeTo(new WritableStream()).catch(() => {})
      }
      await Promise.all(Array.from({ length: count }, open))
    },
    close: () => {
      clearInterval(timer)
      leaving.abort()
      server.closeAllConnections()
      server.close()
    },
  }
}
