import { randomUUID } from 'node:crypto'
import { type NewFile, type StoredFile, type StoredPart, toStorableText } from '@repo/db'
import { type ChatModel, takeTurn } from '@repo/llm'
import { z } from 'zod'
import { ProblemError } from '../plugins/errors.ts'
import { safeParse } from '../plugins/nulls.ts'

/** What a question consists of. `parts` is set if it has images. */
export type QuestionContent = { text: string; parts?: StoredPart[] | undefined; files?: NewFile[] | undefined }

const TextPart = z.looseObject({ type: z.literal('text'), text: z.string() })
const FilePart = z.looseObject({
  type: z.literal('file'),
  mediaType: z.string(),
  url: z.string(),
  filename: z.string().optional(),
})
const OtherPart = z.looseObject({ type: z.string() })

/** The parts of a `UIMessage` from the user. */
export const UserParts = z.array(z.union([TextPart, FilePart, OtherPart]))

const imageTypes = ['image/png', 'image/jpeg', 'image/webp', 'image/gif'] // what vision models take
const anyImage = ['image', 'image/*'] // the AI SDK permits these if the exact type is unknown
const maxFiles = 8 // more do not fit the context of small models
const maxUrlLength = 8000 // UTF-16 units of an https URL, about what servers accept; `data:` URLs are limited by the body
const maxFilenameLength = 255 // UTF-16 units
const checkedAtOnce = 512 * 1024 // characters of base64, about 1 ms

/**
 * Returns the content of a message. `path` is its place in the body, for errors. Throws `ProblemError`: 400 for a part that
 * is not supported, 413 for too many images.
 */
export async function readParts(parts: z.output<typeof UserParts>, path: string): Promise<QuestionContent> {
  const text = parts.flatMap((part) => (isText(part) ? [part.text] : [])).join('\n')
  if (parts.every(isText)) return { text }
  const files: NewFile[] = []
  let textsLeft = parts.filter(isText).length
  const stored: StoredPart[] = []
  for (const [index, part] of parts.entries()) {
    if (isText(part)) {
      textsLeft -= 1
      stored.push({ type: 'text', length: part.text.length + (textsLeft > 0 ? 1 : 0) }) // with the line break after it
      continue
    }
    const file = await readFile(part, `${path}/${index}`)
    files.push({ id: file.id, url: file.url })
    stored.push(file.stored)
  }
  if (files.length > maxFiles) {
    throw new ProblemError(413, 'message_too_large', `The message has more than ${maxFiles} images. Send fewer.`)
  }
  return { text, parts: stored, files }
}

/** Throws `ProblemError` 400 if a question has images and the model takes none. */
export function assertTakesImages(
  { files }: { files?: readonly unknown[] | undefined },
  { name, capabilities }: ChatModel,
  models: ReadonlyMap<string, ChatModel>,
): void {
  if (!files || files.length === 0 || capabilities.images) return
  const others = [...models.values()].filter((model) => model.capabilities.images).map((model) => model.name)
  const advice = others.length > 0 ? `Choose one of these: ${others.join(', ')}.` : 'Send text only.'
  throw new ProblemError(400, 'unsupported_part', `The model ${name} takes no images. ${advice}`)
}

type Part = z.output<typeof UserParts>[number]

function isText(part: Part): part is z.output<typeof TextPart> {
  return part.type === 'text' && typeof part.text === 'string'
}

async function readFile(part: Part, path: string) {
  const { data: file } = safeParse(FilePart, part)
  const reject = (what: string) => new ProblemError(400, 'unsupported_part', `/${path}: ${what}`)
  if (!file) throw reject(`parts of type ${JSON.stringify(part.type)} are not supported. Send text and images only.`)
  const { url, mediaType, filename } = file
  const own = /^data:([^;,]{0,100});base64,/i.exec(url.slice(0, 120)) // its prefix only, because it may have megabytes
  const type = own?.[1]?.toLowerCase() ?? mediaType
  const isImage = imageTypes.includes(type) || (!own && anyImage.includes(type))
  if (!isImage) throw reject(`files of type ${mediaType} are not supported. Send PNG, JPEG, WebP or GIF images.`)
  if (own ? ![type, ...anyImage].includes(mediaType) : !isHttps(url)) throw reject(invalidUrl)
  if (own && !(await isBase64(url, own[0].length))) throw reject('the image is not valid base64. Encode it again.')
  const id = randomUUID()
  const stored: StoredFile = { type: 'file', id, mediaType, length: url.length }
  if (filename) stored.filename = toStorableText(filename.slice(0, maxFilenameLength))
  return { id, url, stored }
}

const invalidUrl =
  'the URL is not an https URL, nor a data URL in base64 whose type is the same as `mediaType`. Send one of these.'

function isHttps(url: string): boolean {
  return url.length <= maxUrlLength && /^https:\/\/[\x21-\x7e]+$/i.test(url) && URL.canParse(url)
}

/** Checks a long text over several turns of the event loop. */
async function isBase64(url: string, start: number): Promise<boolean> {
  const end = url.length - (/={0,2}$/.exec(url.slice(-2))?.[0].length ?? 0)
  if (end === start || (url.length - start) % 4 !== 0) return false
  for (let from = start; from < end; from += checkedAtOnce) {
    if (/[^A-Za-z0-9+/]/.test(url.slice(from, Math.min(end, from + checkedAtOnce)))) return false
    if (end - from > checkedAtOnce) await takeTurn()
  }
  return true
}
