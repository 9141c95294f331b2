#!/bin/sh
# Fills in the template, which `npm start` uses too, and runs PgBouncer.
set -eu
umask 077
export LISTEN_ADDRESS='*' LISTEN_PORT=6432 AUTH_FILE=/tmp/userlist.txt
: "${POSTGRES_HOST:?}" "${POSTGRES_PORT:?}" "${POSTGRES_PASSWORD:?}" "${PGPASSWORD:?of the role stats}"
printf '"sluice" "%s"\n"stats" "%s"\n' "$POSTGRES_PASSWORD" "$PGPASSWORD" >"$AUTH_FILE"
envsubst </etc/pgbouncer/pgbouncer.ini.template >/tmp/pgbouncer.ini
cat >>/tmp/pgbouncer.ini <<END
; The verify-… modes need the certificate of the authority that signed the server's certificate.
server_tls_sslmode = ${POSTGRES_SSLMODE:-prefer}
server_tls_ca_file = ${POSTGRES_CA_FILE:-/etc/ssl/certs/ca-certificates.crt}
END
unset POSTGRES_PASSWORD PGPASSWORD
exec pgbouncer /tmp/pgbouncer.ini
