#!/usr/bin/env bash
# Takes a full backup now, besides the daily ones of components/backup.
set -euo pipefail
name=$(
  kubectl create --namespace chat --output name --filename - <<'END'
apiVersion: postgresql.cnpg.io/v1
kind: Backup
metadata: { generateName: by-hand- }
spec:
  cluster: { name: postgres }
  method: plugin
  pluginConfiguration: { name: barman-cloud.cloudnative-pg.io }
END
)
kubectl wait "$name" --namespace chat --for=jsonpath='{.status.phase}'=completed --timeout=6h
