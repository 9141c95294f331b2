export { toChatMessages } from './chat-messages.ts'
export { listFiles } from './images.ts'
export {
  embedForAnotherModel,
  hashContent,
  type IngestOptions,
  ingestDocument,
  processDocument,
} from './ingest.ts'
export {
  createSniffer,
  csvType,
  docxType,
  htmlType,
  MediaTypeError,
  notebookType,
  pdfType,
  readableTypes,
  type SnifferOptions,
  sniffMediaType,
  textType,
} from './media-type.ts'
export { DocumentError, type Extracted, type PostedFile } from './posted-file.ts'
export { buildPrompt, quotePassages, writeInstructions } from './prompt.ts'
export { type RetrievalFailure, type RetrievedPassage, retrievePassages, type SearchOptions } from './retrieve.ts'
export { maxQuestions, rewriteQuestion } from './rewrite-question.ts'
export { splitText } from './split.ts'
