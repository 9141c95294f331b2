import type { Part } from '../part.ts'

export const part: Part = {
  description: "OpenAI's Responses API, /v1/responses",
  files: ['apps/api/src/openai/responses'],
  dependencies: { 'apps/api': ['@ai-sdk/openai', 'ajv'] },
  edits: {
    'apps/api/src/routes/usage.test.ts': ['const respond = ', "['a response'", "['a streamed response'"],
    'apps/api/src/plugins/budgets.test.ts': ["post('/v1/responses'"],
    'apps/api/src/app.ts': ["await app.register(import('./openai/responses"],
    'apps/api/tests/owners.test.ts': ["['asks for a response'"],
    'apps/api/tests/scopes.test.ts': ["'POST /v1/responses'"],
    'apps/api/tests/stalls.test.ts': ["'POST /v1/responses'"],
    'biome.json': ['"apps/api/src/openai/responses/routes.ts"'],
    'docs/measurements.md': ['| CPU per token of `/v1/responses`'],
    'docs/clients.md': ['`POST /v1/responses` is for', ['`responses`, ', '']],
  },
}
