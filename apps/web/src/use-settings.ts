import { useCallback, useState } from 'react'
import { type Model, useApi } from './api.ts'
import { useLoaded } from './use-loaded.ts'

/** How the next question is answered: by which model, and from which documents. */
export type Settings = {
  models: Model[]
  model: Model | undefined
  chooseModel: (id: string) => void
  /** Empty: all documents. */
  documentIds: string[]
  chooseDocuments: (change: (ids: string[]) => string[]) => void
}

const maxDocuments = 50 // per question

/** Returns the settings, which apply to all conversations until the page is reloaded. */
export function useSettings(): Settings {
  const api = useApi()
  const { value: models = [] } = useLoaded(useCallback(() => api.listModels(), [api]))
  const [chosen, chooseModel] = useState<string>()
  const [documentIds, setDocumentIds] = useState<string[]>([])
  const model = models.find(({ id }) => id === chosen) ?? models.find((model) => model.default)
  const chooseDocuments = useCallback(
    (change: (ids: string[]) => string[]) => setDocumentIds((ids) => change(ids).slice(0, maxDocuments)),
    [],
  )
  return { models, model, chooseModel, documentIds, chooseDocuments }
}

/** Returns the model's field of a request. */
export function toModelField({ models, model }: Settings): { model?: string } {
  return models.length > 1 && model ? { model: model.id } : {}
}

/** Returns the fields of a request for a new question. Another answer keeps the documents of its question. */
export function toFields(settings: Settings): { model?: string; documentIds?: string[] } {
  const { documentIds } = settings
  return { ...toModelField(settings), ...(documentIds.length > 0 && { documentIds }) }
}
