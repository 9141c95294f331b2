export {
  DocumentError,
  type Extracted,
  embedBeside,
  hashContent,
  type IngestOptions,
  ingestDocument,
  type PostedFile,
  processDocument,
} from './ingest.ts'
export {
  createSniffer,
  decodeText,
  docxType,
  htmlType,
  MediaTypeError,
  pdfType,
  sniffMediaType,
  textType,
} from './media-type.ts'
export { buildPrompt } from './prompt.ts'
export { type RetrievedPassage, retrievePassages } from './retrieve.ts'
export { rewriteQuestion } from './rewrite-question.ts'
export { splitText } from './split.ts'
