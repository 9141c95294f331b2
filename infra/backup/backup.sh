#!/usr/bin/env bash
# Runs in Compose's container `postgres` as `backup`. docs/operations.md says how to use it. /backup contains
#   base/TIME   full backups, each complete in itself; TIME is when it was complete, in UTC
#   wal         what was written since, with WAL_ARCHIVE=on
set -euo pipefail
[ "$(id --user)" != 0 ] || exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
kept=7 # full backups; what only older ones need is deleted

# Takes and verifies a full backup while everything runs. From the first one on, Postgres archives its log.
take() {
  local part=/backup/base/part
  psql --username=postgres --quiet --output=/dev/null \
    --command="alter system set archive_command = 'backup archive %p %f'" --command='select pg_reload_conf()'
  mkdir -p /backup/base && rm -rf "$part"
  pg_basebackup --username=postgres --pgdata="$part" --format=tar --compress=gzip:1 --checkpoint=fast
  pg_verifybackup --no-parse-wal "$part" # tar files are verified by their checksums; their log is tried by `check`
  local name
  name=$(date --utc +%Y%m%dT%H%M%SZ)
  mv "$part" "/backup/base/$name"
  prune
  du --human-readable --summarize "/backup/base/$name" /backup/wal
}

prune() {
  mapfile -t old < <(list | head --lines=-$kept)
  [ ${#old[@]} -gt 0 ] || return 0
  local oldest_kept
  oldest_kept=$(list | tail --lines=$kept | head --lines=1)
  (cd /backup/base && rm -r "${old[@]}")
  pg_archivecleanup --strip-extension=.gz /backup/wal "$(tar --extract --gzip --to-stdout --occurrence=1 \
    --file="/backup/base/$oldest_kept/base.tar.gz" backup_label | sed --quiet 's/^START WAL LOCATION: .*(file \(.*\))$/\1/p')"
}

list() { find /backup/base -mindepth 1 -maxdepth 1 -name '*Z' -printf '%f\n' | sort; }

# Postgres' archive_command. Refuses to replace a different file, such as that of a database before a new start from nothing.
archive() { # PATH NAME
  local file=/backup/wal/$2.gz
  if [ -e "$file" ]; then
    gunzip --stdout "$file" | cmp --quiet - "$1" || { echo "backup: $file is of another database" >&2; return 1; }
    return
  fi
  gzip -1 --stdout "$1" >"$file.part"
  sync "$file.part"
  mv "$file.part" "$file"
  sync /backup/wal
}

# Postgres' restore_command.
fetch() { # NAME PATH
  [ -e "/backup/wal/$1.gz" ] && gunzip --stdout "/backup/wal/$1.gz" >"$2"
}

# Unpacks the newest backup that was complete at a time, and replays the log up to that time, or to its end.
recover() { # FOLDER ARCHIVE_MODE TIME
  local until=99991231T235959Z target=() name
  if [ -n "$3" ]; then
    until=$(date --utc --date="$3" +%Y%m%dT%H%M%SZ)
    target=(-c "recovery_target_time='$(date --utc --date="$3" '+%F %T.%6N+00')'")
  fi
  name=$(list | awk -v until="$until" '$0 <= until' | tail --lines=1)
  [ -n "$name" ] || { echo 'No backup is old enough. These exist, with their times in UTC:' >&2; list >&2; return 1; }
  echo "restoring $name"
  rm -rf "$1"
  mkdir --parents --mode=700 "$1"
  tar --extract --gzip --file="/backup/base/$name/base.tar.gz" --directory="$1"
  tar --extract --gzip --file="/backup/base/$name/pg_wal.tar.gz" --directory="$1/pg_wal"
  touch "$1/recovery.signal"
  # Without hot_standby, connections are accepted only at the end of the recovery.
  pg_ctl --pgdata="$1" --silent --log=/tmp/recovery.log start --options="-c listen_addresses= \
    -c unix_socket_directories=/tmp -c hot_standby=off -c archive_mode=$2 -c archive_command='backup archive %p %f' \
    -c restore_command='backup fetch %f %p' -c recovery_target_action=promote ${target[*]}" || true
  until pg_isready --quiet --host=/tmp; do
    pg_ctl --pgdata="$1" status >/dev/null || { explain; return 1; }
    sleep 0.2
  done
}

explain() {
  cat /tmp/recovery.log >&2
  echo 'If the log above ends before that time, nothing was written after it: leave out the time.' >&2
}

# Replaces the data while Postgres is stopped. The old data stays beside it until the next restore.
restore() { # [TIME]
  rm -rf "$PGDATA.old"
  trap 'rm -rf "$PGDATA.new"' EXIT
  recover "$PGDATA.new" "$WAL_ARCHIVE" "${1:-}"
  pg_ctl --pgdata="$PGDATA.new" --silent stop
  [ ! -e "$PGDATA" ] || mv "$PGDATA" "$PGDATA.old"
  mv "$PGDATA.new" "$PGDATA"
  echo "restored; the old data is in $PGDATA.old"
}

# Restores beside the running database, and compares every row of every table with it.
check() {
  trap 'pg_ctl --pgdata="$PGDATA.check" --silent --mode=immediate stop || true; rm -rf "$PGDATA.check"' EXIT
  [ "$WAL_ARCHIVE" = off ] || psql --username=postgres --quiet --command='select pg_switch_wal()' >/dev/null
  until [ -z "$(find "$PGDATA/pg_wal/archive_status" -name '*.ready')" ]; do sleep 1; done
  local start=$SECONDS
  recover "$PGDATA.check" off ''
  echo "$((SECONDS - start)) s for $(du --human-readable --summarize "$PGDATA.check" | cut --fields=1)"
  diff --side-by-side --width=150 <(rows /tmp) <(rows) && echo 'every row is equal'
}

# Prints each table with the number of its rows and the sum of their hashes.
rows() { # [SOCKET]
  psql --host="${1:-/var/run/postgresql}" --username=postgres --dbname=sluice --tuples-only --no-align --quiet --set=ON_ERROR_STOP=1 <<'SQL'
select format('select %L, count(*), sum(hashtextextended(t::text, 0)::numeric) from %s t', oid::regclass, oid::regclass)
from pg_class where relkind = 'r' and relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
order by oid::regclass::text \gexec
SQL
}

case ${1:-take} in
  take | archive | fetch | restore | check | rows) "${@:-take}" ;;
  *) echo 'Use `backup`, `backup check` or infra/backup/restore.sh.' >&2; exit 2 ;;
esac
