import type { Part } from '../part.ts'

export const part: Part = {
  description: 'manifests for Kubernetes',
  files: ['infra/kubernetes', 'infra/observability/kustomization.yaml', 'docs/kubernetes.md'],
  scripts: ['manifests'],
  dependencies: { '.': ['kubernetes-models', 'yaml'] },
  edits: {
    '.ci/run': ['if ! command -v kubectl'],
    'CONTRIBUTING.md': [[', Kubernetes manifests', '']],
    'biome.json': ['"!infra/kubernetes/crds.json"'],
    'docs/deployment.md': ['## Kubernetes'],
    'docs/capacity.md': [[' and [Kubernetes](kubernetes.md) say how', ' says how']],
    'docs/operations.md': ['In Kubernetes, CloudNativePG'],
    'infra/README.md': ['| [kubernetes]'],
    'knip.json': ['"ignoreBinaries"'],
    'package.json': [[' //#manifests', '']],
    'packages/listen/README.md': [
      [' `infra/kubernetes/rehearsal.test.ts` replaces replicas under load, and no request fails.', ''],
    ],
    'turbo.json': ['"//#manifests"'],
    'vitest.config.ts': ["'infra/kubernetes/"],
  },
}
