/** An optional part of the template. Paths are relative to the root. */
export type Part = {
  description: string
  /** Files, folders and globs to delete. */
  files?: string[]
  /** Names in `scripts` of package.json. */
  scripts?: string[]
  /** Packages to remove from each workspace. */
  dependencies?: Record<string, string[]>
  /**
   * What changes in files that stay: the start of a line whose block is removed (see cut-block.ts), or a text and its
   * replacement.
   */
  edits?: Record<string, (string | [from: string, to: string])[]>
}

export const parts: Record<string, Part> = {
  web: {
    description: 'the chat page',
    files: ['apps/web', 'infra/local/page.ts'],
    edits: {
      'README.md': ['![', 'web/ '],
      'docs/measurements.md': ['To watch it live,', '| first load of the page'],
      'infra/api/Dockerfile': [
        ['# The API with its page, the worker', '# The API, the worker'],
        [
          "FROM node:24-trixie-slim AS page\nWORKDIR /app\nCOPY package.json package-lock.json .npmrc ./\nCOPY apps/web/package.json apps/web/\n# Vite's parts for this platform are optional packages.\nRUN npm ci --ignore-scripts -w @repo/web\nCOPY tsconfig.json ./\nCOPY apps/web apps/web/\nRUN npm run build -w @repo/web\n\n",
          '',
        ],
        'COPY apps/web/package.json',
        'COPY --from=page',
      ],
      'infra/local/start.ts': ['await buildPage('],
      'tsconfig.json': [[', "apps/web"', '']],
      'vitest.config.ts': ["'apps/web/src/page.test.ts'"],
    },
  },

  bench: {
    description: 'load tests, the evaluation of the search and their figures',
    files: [
      'apps/bench',
      'apps/web/record.ts',
      'infra/local/{bench,eval}.ts',
      'infra/many-clients.test.ts',
      'docs/measurements.md',
    ],
    scripts: ['bench', 'eval'],
    edits: {
      '.dependency-cruiser.cjs': ["{\n      name: 'no-import-of-bench'"],
      'AGENTS.md': [[' Figures go to docs/measurements.md.', '']],
      'CONTRIBUTING.md': [
        '| `npm run bench',
        [' Put figures into [Measurements](docs/measurements.md), with the command that prints them.', ''],
      ],
      'README.md': ['bench/', '| `npm run bench`', [' · [Measurements](docs/measurements.md)', '']],
      'apps/cli/samples/hybrid-search.md': ['Run `npm run eval`'],
      'apps/web/README.md': ['- `npm run record'],
      'apps/web/package.json': ['"record": '],
      'biome.json': [
        [',\n        "apps/bench/**"\n      ]', '\n      ]'],
        ['        "apps/bench/**",\n', ''],
      ],
      'docs/comparison.md': ['| load test', '| retrieval evaluation'],
      'docs/extending.md': [
        [' Measure the effect with `npm run eval`, as described in [Retrieval](retrieval.md).', ''],
      ],
      'docs/decisions/README.md': [[' The figures behind them are in [Measurements](../measurements.md).', '']],
      'docs/operations.md': [['[Measurements](measurements.md#capacity) shows what a core carries. The', 'The']],
      'docs/retrieval.md': ['## How good it is', '## Evaluate your own collection'],
      'docs/internals.md': [[', `bm25.test.ts`', '']],
      'infra/api/Dockerfile': ['COPY apps/bench/package.json'],
      'infra/structure.test.ts': ["[\n    'an import of the bench'"],
      'packages/offline/README.md': [
        [' `npm run eval` measures the embedder.', ''],
        [' and `infra/local/eval.ts` pass them', ' passes them'],
      ],
      'vitest.config.ts': ["'apps/bench/src/"],
    },
  },

  jwt: {
    description: 'tokens of an OpenID Connect issuer',
    files: ['apps/api/src/plugins/jwt.ts', 'apps/api/src/plugins/jwt.test.ts'],
    dependencies: { 'apps/api': ['jose'] },
    edits: {
      '.env.example': ['# JWT_ISSUER=', '# JWT_AUDIENCE='],
      'apps/api/src/app.ts': [
        "await app.register(import('./plugins/jwt.ts')",
        [', including the URL; a JWT takes 1 to 2 kB', ', including the URL'],
      ],
      'apps/api/src/plugins/README.md': ['- `jwt.ts`'],
      'apps/api/src/plugins/error-catalogue.ts': [
        [", 'token_expired'", ''],
        [", 'issuer_unavailable'", ''],
      ],
      'apps/api/tests/logs.test.ts': [
        'const pair = ',
        'const issuer = ',
        ['[modelUrl, issuerUrl] = [await listen(model), await listen(issuer)]', 'modelUrl = await listen(model)'],
        ['for (const server of [model, issuer]) server', 'model'],
        'const sign = ',
        'JWT_ISSUER: ',
        'JWT_AUDIENCE: ',
        "const [token = '', foreign = ''] = ",
        'for (const given of [token, foreign])',
      ],
      'docs/comparison.md': ['| login for people'],
      'docs/configuration.md': ['| `JWT_ISSUER`', '| `JWT_AUDIENCE`'],
      'docs/deployment.md': ['- People who sign in with OpenID Connect'],
      'docs/security.md': [
        [' Tokens come from one issuer, with fixed algorithms, audience and expiry (`jwt.ts`).', ''],
        ['model servers and `JWT_ISSUER` only, without following redirects (`jwt.test.ts`)', 'model servers only'],
      ],
      'packages/config/src/index.ts': [
        'const issuerError',
        'const issuerUrl',
        'function isIssuer',
        'JWT_ISSUER: ',
        'JWT_AUDIENCE: ',
        '.refine((env) => env.JWT_AUDIENCE',
        '.refine((env) => env.JWT_ISSUER',
      ],
      'packages/config/src/index.test.ts': [
        "[\n      'JWT_ISSUER'",
        "['JWT_AUDIENCE', 'api'",
        "it.each([\n    'login.example'",
        "it.each(['https://login.example',",
      ],
    },
  },

  tracing: {
    description: 'OpenTelemetry traces',
    files: [
      'apps/api/tests/tracing{,-cost}.test.ts',
      'apps/worker/src/tracing.test.ts',
      'packages/telemetry/src/{bind-trace,sdk,spans,trace-requests,tracing}.ts',
    ],
    dependencies: {
      'packages/db': ['@opentelemetry/api'],
      'packages/models': ['@repo/telemetry'],
      'packages/telemetry': [
        '@fastify/otel',
        '@opentelemetry/api',
        '@opentelemetry/context-async-hooks',
        '@opentelemetry/core',
        '@opentelemetry/exporter-trace-otlp-http',
        '@opentelemetry/resources',
        '@opentelemetry/sdk-trace-base',
        '@repo/config',
        'fastify',
        'fastify-plugin',
      ],
    },
    edits: {
      '.env.example': ['# OTEL_'],
      'apps/api/src/app.ts': [
        [', type Tracing', ''],
        'tracing?: Tracing',
        ['logger, tracing, watchDelay', 'logger, watchDelay'],
        'if (tracing) await',
        ['llm, tracing }', 'llm }'],
        'tracing?.traceAnswer',
      ],
      'apps/api/src/server.ts': [
        [', startTracing', ''],
        'const tracing = ',
        ['createModels(config, { tracing })', 'createModels(config)'],
        ['store: tracing ? tracing.traceStore(store) : store', 'store'],
        'tracing,',
        'await tracing?.close()',
      ],
      'apps/worker/src/start-jobs.ts': [['bindTrace(options.log)', 'options.log']],
      'apps/worker/src/worker.ts': [
        [', startTracing', ''],
        'const tracing = ',
        ['createModels(config, { tracing })', 'createModels(config)'],
        'await tracing?.close()',
      ],
      'docs/configuration.md': ['## Tracing'],
      'docs/internals.md': ['| column `trace_context`'],
      'docs/measurements.md': ['| tracing, five spans'],
      'docs/operations.md': ['## Traces'],
      'packages/config/src/index.ts': ['const tracing', '...tracing', 'export type TracingConfig'],
      'packages/db/src/jobs.ts': [
        [', trace_context)', ')'],
        // biome-ignore lint/suspicious/noTemplateCurlyInString: code, not a template
        [', ${readTrace()}::jsonb', ''],
        'function readTrace',
      ],
      'packages/models/src/index.ts': [
        'tracing?: Tracing',
        ['tracing, fallback', 'fallback'],
        'callHeaders: ',
        ['const llm = createLlm(', 'return createLlm('],
        'return tracing ?',
      ],
      'packages/telemetry/src/index.ts': ['export { bindTrace }', 'export { startTracing'],
      'packages/testing/src/processes.ts': [
        'const Value = ',
        'const CollectedSpan = ',
        'const Export = ',
        'export async function startCollector',
      ],
      'vitest.config.ts': [
        [',tracing}.test', '}.test'],
        [',tracing-cost,', ','],
        ['{files,tracing,worker}', '{files,worker}'],
      ],
    },
  },

  openai: {
    description: "OpenAI's API below /v1",
    files: [
      'apps/api/src/chat/call.ts',
      'apps/api/src/openai',
      'packages/llm/src/{measure-chunk,openai-api}.ts',
      'packages/llm/src/openai-{completions,embeddings}{,.test}.ts',
      'packages/offline/src/{completions,embeddings}{,.test}.ts',
    ],
    dependencies: { 'apps/api': ['openai'] },
    edits: {
      'README.md': ['openai/ ', ["use `useChat` or OpenAI's SDK ", 'use `useChat` ']],
      'apps/api/src/app.ts': ["await app.register(import('./openai/"],
      'apps/api/src/chat/answer-limits.test.ts': [
        'complete: (body: object)',
        "describe('a completion of a model that never stops'",
        ['ask, read, complete }', 'ask, read }'],
        'for (const stream of [true, false])',
      ],
      'apps/api/src/chat/chat.ts': ['openCall: '],
      'apps/api/src/chat/find-passages.test.ts': ["it('works the same for clients of OpenAI"],
      'apps/api/src/chat/injection.test.ts': ["it('a client of OpenAI"],
      'apps/api/src/documents/upload.ts': [['param: path.slice(1), ', '']],
      'apps/api/src/plugins/errors.test.ts': ["it('an unknown route below /v1/"],
      'apps/api/src/plugins/errors.ts': [
        'const OpenAiError',
        'param?: string',
        'param: string | undefined',
        'this.param = ',
        ['param: toParam(errors[0]?.path), ', ''],
        [", or in OpenAI's envelope below /v1/", ''],
        ["if (!isOpenAi(request.url)) reply.type('", "reply.type('"],
        ['toErrorBody(problem, request.url, request.id)', 'toErrorBody(problem, request.id)'],
        'export function isOpenAi',
        'export function toErrorBody',
        ['function toBody(', '/** Returns the response body of an error. */\nexport function toErrorBody('],
        ['toBody(problem, requestId)', 'toErrorBody(problem, requestId)'],
        'function toParam',
        'const openAiCodes',
        'export function toOpenAiError',
      ],
      'apps/api/src/plugins/openapi.test.ts': [
        ["path.startsWith('/v1/') ? 'invalid_api_key' : 'unauthorized'", "'unauthorized'"],
      ],
      'apps/api/src/plugins/openapi.ts': [
        ['isOpenAi, ', ''],
        [", or OpenAI's envelope below \\`/v1/\\`", ''],
        "{ name: 'v1'",
        'const [type, schema] = isOpenAi',
        ['detail), route.url,', 'detail),'],
        ["'error' in body ? body.error.code : body.code", 'body.code'],
        [
          // biome-ignore lint/suspicious/noTemplateCurlyInString: code, not a template
          'content: { [type]: { schema: { $ref: `#/components/schemas/${schema}` }',
          "content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' }",
        ],
        ['listHeaders(status, url)', 'listHeaders(status)'],
        ['function listHeaders(status: string, url: string)', 'function listHeaders(status: string)'],
        ["(isOpenAi(url) || status === '503')", "status === '503'"],
      ],
      'apps/api/src/plugins/quotas.test.ts': ["it('sends the 429 in OpenAI"],
      'apps/api/src/plugins/security.test.ts': ["['the OpenAI API'", "['/v1/chat/completions'"],
      'apps/api/tests/generated-client.test.ts': [
        [', and OpenAI’s envelope below /v1/', ''],
        'const refused = await api.createEmbeddings',
        [', refused.error?.error.code', ''],
        [", 'model_not_found'", ''],
        'openAi: `',
        "it('speaks OpenAI",
      ],
      'apps/api/tests/hostile.test.ts': [
        'const OpenAiError',
        'const isOpenAi',
        ['if (!isOpenAi) expect(headers', 'expect(headers'],
        ['isOpenAi ? OpenAiError.parse(JSON.parse(body)).error.code : ', ''],
        ['{ method, target, operation }', '{ method, operation }'],
        ['if (!isOpenAi) expect(JSON', 'expect(JSON'],
      ],
      'apps/api/tests/logs.test.ts': ['...[true, false].map((stream)', "post('/v1/embeddings'"],
      'apps/api/tests/owners.test.ts': [
        'const completion = ',
        "['asks a model about her documents'",
        "['asks the same with streaming'",
      ],
      'apps/api/tests/stalls.test.ts': [
        'const question = ',
        'const bytesLeft = ',
        "'POST /v1/chat/completions'",
        "'POST /v1/embeddings'",
        "'GET /v1/models'",
      ],
      'apps/bench/src/watch/stalls.ts': [
        // biome-ignore lint/suspicious/noTemplateCurlyInString: code, not a template
        'post(`${url}/v1/',
      ],
      'biome.json': ['"apps/api/src/openai/routes.ts"'],
      'docs/clients.md': [
        "## OpenAI's API",
        [' Below `/v1`, they use OpenAI\'s envelope: `{"error": {"message", "type", "param", "code"}}`.', ''],
      ],
      'docs/comparison.md': [
        [', OpenAI chunks', ''],
        '| OpenAI-compatible API',
        [' (`/v1` passes them to the client)', ''],
      ],
      'docs/measurements.md': ['| 8 MB bodies of `/v1'],
      'docs/security.md': [
        [' Below `/v1`, other parameters are passed to the model.', ''],
        [' `/v1` ends the model call when its client disconnects.', ''],
      ],
      'infra/balancer/Caddyfile': ['@openai path', 'handle @openai'],
      'infra/replicas.test.ts': ["it('cancel the model request when a client of /v1"],
      'packages/llm/README.md': ['- `openai-completions.ts` and'],
      'packages/llm/src/index.test.ts': ['completions: {', 'embeddings: {'],
      'packages/llm/src/index.ts': [
        'export { measureChunk }',
        'export {\n  asksForUsage',
        ['const { chat, completions } =', 'const chat ='],
        ['const { embedder, embeddings } =', 'const embedder ='],
        'completions: guardCompletions',
        'embeddings: guardEmbeddings',
        [": Pick<Models, 'chat' | 'completions'>", ': ChatModel'],
        [": Pick<Models, 'embedder' | 'embeddings'>", ': Embedder'],
        [
          'return { chat: createOpenAiChat(http, name, limit), completions: createOpenAiCompletions(http, name, limit) }',
          'return createOpenAiChat(http, name, limit)',
        ],
        'if (name) {',
        [
          "if (fallback) return fallback\n  throw new Error('No chat",
          "if (fallback) return fallback.chat\n  throw new Error('No chat",
        ],
        [
          "if (fallback) return fallback\n  throw new Error('No embedding",
          "if (name) return createOpenAiEmbedder(http, name, dimensions)\n  if (fallback) return fallback.embedder\n  throw new Error('No embedding",
        ],
        'function guardCompletions',
        'function guardEmbeddings',
      ],
      'packages/llm/src/models.ts': [
        [", each also with the interface that clients of OpenAI's API expect", ''],
        'completions: ',
        'embeddings: ',
      ],
      'packages/llm/src/token-limit.ts': ['export function lowerTokenLimits'],
      'packages/llm/src/token-limit.test.ts': [
        'const completions = ',
        'complete: async (more',
        "describe('the limit of a completion'",
      ],
      'packages/testing/src/test-models.ts': [
        'const usage',
        'const described',
        'const toChunk',
        'completions: {',
        'embeddings: {',
        'async function* streamBatch',
      ],
      'packages/offline/README.md': [[" and `completions.ts` (OpenAI's API)", '']],
      'packages/offline/src/index.ts': ['completions: ', 'embeddings: '],
      'packages/telemetry/src/spans.ts': [
        ['embedder, completions, embeddings, close', 'embedder, close'],
        'completions: {',
        'embeddings: {',
      ],
    },
  },
  offline: {
    description: 'the model that needs no key; without it, CHAT_MODEL and EMBEDDING_MODEL are required',
    files: ['packages/offline', 'infra/newcomer.test.ts'],
    edits: {
      '.env.example': [
        [
          ' By default the offline model answers with sentences from your documents.',
          ' Required: CHAT_MODEL and EMBEDDING_MODEL.',
        ],
        [' Unset = offline embeddings.', ''],
      ],
      'README.md': [
        'offline/ ',
        '- **No key needed.**',
        [
          'Until you configure a model, the offline model answers by quoting your documents. Any',
          'Configure a chat model and an embedding model first. Any',
        ],
      ],
      'apps/api/src/openai/clients.test.ts': [["'offline", "'test"]],
      'apps/api/src/openai/routes.test.ts': [
        "describe('the offline model",
        ["'offline-384'", "'test-384'"],
        "['dimensions', { input: 'a', dimensions: 256 }]",
      ],
      'apps/api/src/plugins/quotas.test.ts': [["'offline-384'", "'test-384'"]],
      'apps/api/src/plugins/security.test.ts': [["'offline'", "'test'"]],
      'apps/api/src/chat/find-passages.test.ts': [["'offline'", "'test'"]],
      'apps/api/src/routes/chat.test.ts': ["it('the offline model"],
      'apps/api/src/testing.ts': [
        ['import type { Gate }', "import { createTestModels } from '@repo/testing/test-models'\nimport type { Gate }"],
        ['createModels(config)', 'createModels(config, { fallback: createTestModels() })'],
      ],
      'apps/api/tests/owners.test.ts': [
        [
          "createModels(readConfig({ DATABASE_URL: 'postgres://nobody@127.0.0.1:9/nothing' }))",
          '{ ...createTestModels(), close: () => {} }',
        ],
        ["import { createModels } from '@repo/models'", "import { createTestModels } from '@repo/testing/test-models'"],
        ["'offline'", "'test'"],
      ],
      'apps/api/tests/stalls.test.ts': [["'offline-384'", "'test-384'"]],
      'apps/bench/src/eval/options.ts': [[' to use another embedding model than the offline one.', '.']],
      'apps/cli/samples/what-sluice-does.md': [
        [' If neither is set, the offline model answers: it quotes sentences from the documents and needs no key.', ''],
      ],
      'apps/cli/src/reindex.test.ts': [
        [
          'createModels(readManageConfig(env))',
          'createModels(readManageConfig(env), { fallback: createTestModels() })',
        ],
        [
          "import { startMockModel } from '@repo/testing/mock-model'",
          "import { startMockModel } from '@repo/testing/mock-model'\nimport { createTestModels } from '@repo/testing/test-models'",
        ],
        ['offline-384', 'test-384'],
      ],
      'docs/clients.md': [
        ["'offline'", "'gpt-5-mini'"],
        ['"offline"', '"gpt-5-mini"'],
      ],
      'docs/configuration.md': [
        [' The offline model quotes documents and needs no key.', ''],
        ['offline model   ', 'required'],
        ['offline embedder', 'required'],
      ],
      'docs/decisions/0027-offline-embedder-chosen-by-measurement.md': [
        ['[Measurements](../measurements.md#offline-embedder) compares the candidates.', ''],
      ],
      'docs/measurements.md': ['## Offline embedder', '## Offline answers'],
      'docs/retrieval.md': ['| `vector`: with the offline embedder', 'The offline embedder compares spelling'],
      'infra/api/Dockerfile': ['COPY packages/offline'],
      'infra/local/eval.ts': ['fallback: createOfflineModels()'],
      'infra/local/start.ts': [[" || 'offline'", '']],
      'infra/template/rename.ts': [
        [' Tests of the offline model quote texts about the template.', ''],
        ["'packages/offline/', ", ''],
      ],
      'packages/llm/README.md': [
        [', and offline ones otherwise', ''],
        '- Without a configured model',
        [' If you leave out `CHAT_MODEL` or `EMBEDDING_MODEL`, the offline one is used instead.', ''],
      ],
      'packages/models/src/index.ts': [['fallback = createOfflineModels()', 'fallback']],
      'packages/models/src/index.test.ts': ["{ kind: 'offline'"],
    },
  },
}
