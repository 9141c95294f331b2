import type { PastMessage, StoredFile, StoredPart } from '@repo/db'
import type { ChatMessage } from '@repo/llm'

/** Returns the URL of a stored image. */
export type ReadImage = (file: StoredFile) => Promise<string>

const budget = 8_000_000 // UTF-16 units of URLs: as much as one question may bring. Model servers accept 20 MB or more
const maxCount = 20 // some model servers reject more in one request

/** Returns the files of a stored question. */
export function listFiles(parts: StoredPart[] | null | undefined): StoredFile[] {
  return parts?.filter((part) => part.type === 'file') ?? []
}

/**
 * Returns the ids of the images that are sent again: those of the newest question that has any, and earlier ones that fit.
 * Like `fitHistory`, it drops half of the budget at once, so that the prompt of the next turns begins with the same bytes.
 */
export function chooseImages(newestFirst: PastMessage[]): Set<string> {
  const questions = newestFirst.map(({ parts }) => listFiles(parts)).filter((files) => files.length > 0)
  const sent = new Set(questions.at(0)?.map(({ id }) => id))
  const files = questions.reverse().flat()
  const total = files.reduce((sum, file) => sum + measure(file), 0)
  const cut = Math.ceil((total - budget) / (budget / 2)) * (budget / 2)
  let start = 0
  for (const file of files) {
    if (start >= cut) sent.add(file.id)
    start += measure(file)
  }
  return sent
}

const measure = ({ length }: StoredFile) => Math.max(length, budget / maxCount)

/** Returns a question for the model. Images that are not in `sent` are replaced by a note, so the model knows of them. */
export function toQuestion(
  content: string,
  files: StoredFile[],
  readImage: ReadImage | undefined,
  sent: ReadonlySet<string>,
): ChatMessage {
  if (files.length === 0) return { role: 'user', content }
  const images = files.flatMap((file) => (readImage && sent.has(file.id) ? () => readImage(file) : []))
  const notes = files.flatMap(({ id }) => (sent.has(id) ? [] : '[image omitted]'))
  const text = [content, ...notes].filter(Boolean).join('\n')
  return { role: 'user', content: text, ...(images.length > 0 && { images }) }
}
