export {
  DocumentError,
  type Extracted,
  hashContent,
  type IngestOptions,
  ingestDocument,
  processDocument,
} from './ingest.ts'
export { buildPrompt } from './prompt.ts'
export { type RetrievedPassage, retrievePassages } from './retrieve.ts'
export { splitText } from './split.ts'
