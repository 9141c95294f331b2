#!/usr/bin/env bash
# The whole stack in a kind cluster on this machine, then http://localhost:3000. Needs Docker, kind and kubectl.
# Remove it with: kind delete cluster --name chat
set -euo pipefail
cd "$(dirname "$0")/../.."
operator=1.30.1
kind get clusters | grep -qx chat || kind create cluster --name chat --wait 5m
kubectl config use-context kind-chat
docker build --tag sluice-api:local --file infra/api/Dockerfile .
kind load docker-image sluice-api:local --name chat
kubectl apply --server-side --filename \
  "https://github.com/cloudnative-pg/cloudnative-pg/releases/download/v$operator/cnpg-$operator.yaml"
kubectl rollout status deployment/cnpg-controller-manager --namespace cnpg-system --timeout=5m
infra/kubernetes/deploy.sh local
kubectl exec deployment/api --namespace chat -- node apps/cli/dist/seed.js # the sample documents
kubectl port-forward service/api --namespace chat 3000:80
