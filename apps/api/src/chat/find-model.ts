import { ProblemError } from '../plugins/errors.ts'

/** Returns the model with this name. Throws `ProblemError` 404 that lists the available names. */
export function findModel<Model>(models: ReadonlyMap<string, Model>, name: string): Model {
  const model = models.get(name)
  if (model) return model
  const names = [...models.keys()].join(', ')
  throw new ProblemError(404, 'model_not_found', `Model not found. Use one of these: ${names}.`)
}
