import type { Part } from '../part.ts'

export const part: Part = {
  description: 'load tests, the evaluation of the search and their figures',
  files: [
    'apps/bench',
    'apps/web/record.ts',
    'infra/local/{bench,eval}.ts',
    'infra/many-clients.test.ts',
    'docs/{capacity,measurements}.md',
  ],
  packages: ['measure'],
  scripts: ['bench', 'eval'],
  edits: {
    '.dependency-cruiser.cjs': ["{\n      name: 'no-import-of-bench'"],
    'AGENTS.md': [[' Figures go to docs/measurements.md.', '']],
    'CHANGELOG.md': ['- `npm run bench -- --capacity`'],
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
    'docs/deployment.md': ['## More than one machine'],
    'docs/comparison.md': ['| load test', '| retrieval evaluation'],
    'docs/extending.md': [[' Measure the effect with `npm run eval`, as described in [Retrieval](retrieval.md).', '']],
    'docs/decisions/README.md': [[' The figures behind them are in [Measurements](../measurements.md).', '']],
    'docs/operations.md': [
      ['[Capacity](capacity.md) says what a deployment needs and when to change what. The', 'The'],
    ],
    'docs/retrieval.md': [
      '## How good it is',
      '## Evaluate your own collection',
      [' `npm run eval` measures it as `reranked` if the variables are set, and fails if the reranker does.', ''],
    ],
    'infra/api/Dockerfile': ['COPY apps/bench/package.json'],
    'infra/structure.test.ts': ["[\n    'an import of the bench'"],
    'packages/offline/README.md': [[' `npm run eval` measures the embedder.', '']],
    'vitest.config.ts': ["'apps/bench/src/"],
  },
}
