import type { Part } from '../part.ts'

export const part: Part = {
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
        'toLlm(createTestModels())',
      ],
      [
        "import { createModels } from '@repo/models'",
        "import { toLlm } from '@repo/llm'\nimport { createTestModels } from '@repo/testing/test-models'",
      ],
      ["'offline'", "'test'"],
    ],
    'apps/api/tests/stalls.test.ts': [["'offline-384'", "'test-384'"]],
    'apps/bench/src/eval/options.ts': [[' to use another embedding model than the offline one.', '.']],
    'apps/cli/samples/what-sluice-does.md': [
      [' If neither is set, the offline model answers: it quotes sentences from the documents and needs no key.', ''],
    ],
    'apps/cli/src/reindex.test.ts': [
      ['createModels(readManageConfig(env))', 'createModels(readManageConfig(env), { fallback: createTestModels() })'],
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
    'packages/models/README.md': [[', `offline` (no key)', '']],
    'packages/models/src/index.ts': [['fallback = createOfflineModels()', 'fallback']],
    'packages/models/src/index.test.ts': ["{ kind: 'offline'"],
  },
}
