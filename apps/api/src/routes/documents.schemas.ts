import { hasVisibleText, toStorableText } from '@repo/db'
import { z } from 'zod'
import { Metadata, MetadataText } from '../documents/metadata.ts'

export const maxTextLength = 2_000_000 // UTF-16 units, a book of 700 pages

const Text = z.string().refine(hasVisibleText, 'must not be empty')

const Short = Text.transform(toStorableText).refine((text) => text.length <= 500, 'must have at most 500 characters')

const DocumentFields = z.object({
  title: Short,
  externalId: Short.optional().meta({
    description: 'Your own name for it: other content under the same name takes its place',
  }),
})

const shared = {
  description: 'Lets everybody in your organization read it. Librarians only',
}

/** In a form with a file, each field is a text. */
export const FormFields = DocumentFields.extend({
  metadata: MetadataText.optional(),
  shared: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .optional()
    .meta(shared),
})

/** Describes the form in /docs. The title is optional, because the name of the file replaces it. */
export const DocumentForm = FormFields.partial().extend({ file: z.file() })

export const DocumentRequest = DocumentFields.extend({
  metadata: Metadata.optional().meta({ description: 'What `GET /search?filter=` may ask for' }),
  text: Text.meta({ description: 'Plain text or Markdown' }),
  shared: z.boolean().optional().meta(shared),
}).meta({
  examples: [
    {
      title: 'Handbook',
      externalId: 'faq/opening',
      metadata: { team: 'ops' },
      text: '# Opening hours\n\nMonday to Friday, 9 to 5.',
    },
  ],
})

const document = {
  id: '3f0d2c8e-6f0b-4c39-9a53-0d3f8f2f5c11',
  externalId: 'faq/opening',
  title: 'Handbook',
  metadata: { team: 'ops' },
  status: 'ready',
  progress: 1,
  error: null,
  warnings: ['The images of 2 pages were not read: 3, 7.'],
  createdAt: '2026-11-24T09:00:00.000Z',
  shared: false,
}

export const DocumentResponse = z
  .object({
    id: z.string(),
    externalId: z.string().nullable(),
    title: z.string(),
    metadata: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
    status: z.enum(['queued', 'processing', 'ready', 'failed']).meta({
      description:
        'Of the content that was posted last. What the document held before is searched until that is ready.',
    }),
    progress: z.number().min(0).max(1).meta({ description: 'The part that is embedded; 1 when it is ready' }),
    error: z.string().nullable().meta({ description: 'Why it failed, or why it has to be tried again' }),
    warnings: z.array(z.string()).meta({ description: 'What could not be read, in the content that is searched' }),
    createdAt: z.iso.datetime(),
    shared: z.boolean().meta({ description: 'Whether it belongs to your organization' }),
  })
  .meta({ id: 'Document', description: 'A document and what has become of it', examples: [document] })

export const DocumentList = z
  .object({ items: z.array(DocumentResponse), next: z.string().nullable() })
  .meta({ description: 'A page', examples: [{ items: [document], next: null }] })

const passage = {
  id: document.id,
  title: 'Handbook',
  text: 'Monday to Friday, 9 to 5.',
  start: 17,
  end: 42,
  length: 42,
}

export const TextResponse = z
  .object({
    id: z.string(),
    title: z.string(),
    text: z.string(),
    start: z.int().meta({ description: 'Where in the document this text begins, in UTF-16 units, as sources count' }),
    end: z.int(),
    length: z.int().meta({ description: 'Of the whole document' }),
  })
  .meta({ description: "A part of a document's text", examples: [passage] })

export const SharingRequest = z
  .object({ shared: z.boolean().meta(shared) })
  .meta({ description: 'Who may read the document', examples: [{ shared: false }] })

export const Gone = z.undefined().meta({ description: 'The document is gone' })

/** Accepts any string. The route responds with 404 if it is not a UUID, as for another owner's document. */
export const Params = z.object({ id: z.string().meta({ examples: [document.id] }) })

export const TextQuery = z.object({
  start: z.coerce.number().int().min(0).max(maxTextLength).default(0),
  end: z.coerce.number().int().min(0).max(maxTextLength).optional(),
})
