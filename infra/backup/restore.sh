#!/usr/bin/env bash
# Restores everything that the backups contain, or what was there at a time: infra/backup/restore.sh '2026-12-01 14:00 UTC'
set -euo pipefail
cd "$(dirname "$0")/../.."
docker compose stop
if ! docker compose run --rm --no-deps --no-TTY postgres backup restore "$@"; then
  echo 'Nothing was restored. The data is as it was: docker compose up --detach --wait' >&2
  exit 1
fi
docker compose up --detach --wait
