import type { Part } from '../part.ts'

export const part: Part = {
  description: 'manifests for Kubernetes',
  files: ['infra/kubernetes', 'infra/observability/kustomization.yaml', 'docs/kubernetes.md'],
  scripts: ['manifests'],
  dependencies: { '.': ['ajv', 'kubernetes-models', 'yaml', 'zod'] },
  edits: {
    '.ci/run': ['if ! command -v kubectl'],
    '.github/workflows/release.yml': [
      [
        '# Publishes two images, that of the API, the worker and the migrations, and that of PgBouncer, when',
        '# Publishes the image of the API, the worker and the migrations when',
      ],
      '- { context: infra/pgbouncer',
    ],
    'CONTRIBUTING.md': [[', Kubernetes manifests', '']],
    'biome.json': [[', "!infra/kubernetes/crds.json"', '']],
    'docs/deployment.md': [
      '## Kubernetes',
      [" PgBouncer's image is published beside it, with `-pooler` after the name.", ''],
    ],
    'docs/capacity.md': [[' and [Kubernetes](kubernetes.md) say how', ' says how']],
    'docs/operations.md': ['In Kubernetes, CloudNativePG'],
    'infra/README.md': ['| [kubernetes]'],
    'knip.json': ['"ignoreBinaries"'],
    'package.json': [[' //#manifests', '']],
    'turbo.json': ['"//#manifests"'],
    'vitest.config.ts': ["'infra/kubernetes/"],
  },
}
