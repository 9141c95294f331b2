#!/usr/bin/env bash
# Replaces the database by the newest backup and the log after it, or the log up to a time:
#   infra/kubernetes/restore.sh '2026-12-01 14:00:00+00'
# DELETES the database of the namespace `chat`. Afterwards, use `deploy.sh restored`: see components/restore.
set -euo pipefail
overlay=$(dirname "$0")/overlays/restored
target=${1:+", \"recoveryTarget\": { \"targetTime\": \"$1\" }"}
kubectl delete scaledobject api worker --namespace chat --ignore-not-found # they would start the pods again
kubectl scale deployment api worker --namespace chat --replicas=0
kubectl delete cluster postgres --namespace chat --ignore-not-found --wait
kubectl apply --kustomize "$overlay" --selector role=postgres --dry-run=client --output yaml |
  kubectl patch --local --filename - --type merge --output yaml \
    --patch "{ \"spec\": { \"bootstrap\": { \"recovery\": { \"source\": \"backups\"$target } } } }" |
  kubectl apply --filename -
kubectl wait cluster/postgres --namespace chat --for=condition=Ready --timeout=6h
"$(dirname "$0")/deploy.sh" restored
