#!/bin/sh
# Fills in the template that `npm start` uses too, and runs PgBouncer.
set -eu
umask 077
export LISTEN_ADDRESS='*' LISTEN_PORT=6432 AUTH_FILE=/tmp/userlist.txt
: "${POSTGRES_HOST:?}" "${POSTGRES_PORT:?}" "${POSTGRES_PASSWORD:?}" "${STATS_PASSWORD:?}"
printf '"sluice" "%s"\n"stats" "%s"\n' "$POSTGRES_PASSWORD" "$STATS_PASSWORD" >"$AUTH_FILE"
envsubst </etc/pgbouncer/pgbouncer.ini.template >/tmp/pgbouncer.ini
unset POSTGRES_PASSWORD STATS_PASSWORD
exec pgbouncer /tmp/pgbouncer.ini
