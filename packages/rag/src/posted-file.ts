/**
 * The content of a file. `pages`: where each page begins in `text`, in UTF-16 units. `warnings`: what is missing from
 * `text`, as sentences for users without any text of the file.
 */
export type Extracted = { text: string; pages?: number[]; warnings?: string[] }

/** A posted file, read part by part. `size` is in bytes. */
export type PostedFile = { mediaType: string; size: number; parts: AsyncIterable<Buffer> }

/** The document itself is the cause, so retrying does not help. `message` tells users why, and what to do. */
export class DocumentError extends Error {
  code = 'document_unreadable' as const

  constructor(message: string) {
    super(message)
    this.name = 'DocumentError'
  }
}
