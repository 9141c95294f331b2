/** What a model server says of its response: the model that answered, and the server's own id. */
export type ResponseInfo = { model?: string; id?: string }

const name = /^\P{C}{1,200}$/u // anything longer, or with control characters, is not a name

/** Reads a completion, or a chunk of one. Returns undefined if it says nothing. */
export function readResponseInfo({ model, id }: Record<string, unknown>): ResponseInfo | undefined {
  const info = { ...(isName(model) && { model }), ...(isName(id) && { id }) }
  return Object.keys(info).length > 0 ? info : undefined
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && name.test(value)
}
