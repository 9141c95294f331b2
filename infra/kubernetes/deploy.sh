#!/usr/bin/env bash
# Installs or updates an overlay: infra/kubernetes/deploy.sh production. The new version starts only after its migration.
set -euo pipefail
overlay=$(dirname "$0")/overlays/${1:?Name an overlay: local, production or external}
kubectl delete job migrate --namespace chat --ignore-not-found # a Job cannot be changed
kubectl apply --kustomize "$overlay" --selector 'role notin (api, worker)'
kubectl wait job/migrate --namespace chat --for=condition=complete --timeout=2h
kubectl apply --kustomize "$overlay"
for program in api worker; do kubectl rollout status "deployment/$program" --namespace chat --timeout=15m; done
