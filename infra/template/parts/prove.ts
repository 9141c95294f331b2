import type { Part } from '../part.ts'

export const part: Part = {
  description: 'the check of whether the streams of any server hold connections',
  files: ['apps/prove'],
  packages: ['measure'],
  scripts: ['prove'],
  edits: {
    '.gitignore': [['/prove-report.html\n', '']],
    'CHANGELOG.md': ['- `npm run prove -- '],
    'README.md': ['prove/'],
    'biome.json': [['        "apps/prove/src/{options,prove}.ts",\n', '']],
    'docs/held-connections.md': ['[prove-streams]'],
    'infra/api/Dockerfile': ['COPY apps/prove/package.json'],
    'knip.json': [['    "apps/prove": {\n      "entry": ["servers/*.ts"]\n    },\n', '']],
    'vitest.config.ts': ["'apps/prove/src/servers", "'apps/prove/src/package"],
  },
}
