import { assertNoConnectionHeld } from '@repo/db'
import { DocumentError, type Extracted, type PostedFile } from '@repo/rag'

type Limits = { timeMs: number; textLength: number }

/**
 * Returns a function that reads a file with Apache Tika, or another server with its `PUT /tika`: the body is the file,
 * and the response its plain text. It throws `DocumentError` if the server cannot read the file within the limits, and
 * another error if the server itself fails, so that the queue retries.
 */
export const readExternally =
  (url: string) =>
  async ({ parts }: PostedFile, limit: Limits, signal?: AbortSignal): Promise<Extracted> => {
    assertNoConnectionHeld()
    const deadline = AbortSignal.timeout(limit.timeMs)
    const done = new AbortController() // a server may respond before it has received the whole file
    try {
      const response = await fetch(url, {
        method: 'PUT',
        headers: { accept: 'text/plain', 'content-type': 'application/octet-stream' }, // Tika detects the type itself
        body: ReadableStream.from(parts),
        duplex: 'half',
        redirect: 'error',
        signal: AbortSignal.any([deadline, done.signal, ...(signal ? [signal] : [])]),
      })
      return { text: await readAnswer(response, limit) }
    } catch (error) {
      if (!deadline.aborted || signal?.aborted) throw error
      throw new DocumentError(
        `Reading this file takes longer than ${limit.timeMs / 1000} s. Split it or save it again.`,
      )
    } finally {
      done.abort()
    }
  }

async function readAnswer(response: Response, { textLength }: Limits): Promise<string> {
  const { status, body } = response
  const type = response.headers.get('content-type') ?? ''
  if (status === 415 || status === 422) throw new DocumentError('The extractor cannot read this file. Save it as PDF.')
  if (status === 204) return ''
  if (status !== 200 || !type.startsWith('text/plain'))
    throw new Error(`The extractor responded with ${status} and "${type}". Check EXTRACTOR_URL.`)
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length > textLength) break // which also closes the connection
  }
  return text + decoder.decode()
}
