#!/usr/bin/env bash
# Lays PostgreSQL 17, pgvector and PgBouncer of Debian 13 (trixie), with its security updates, into the folder $1:
# no root, nothing installed, signatures checked by the machine's own Debian keyring. About 40 MB, 10 seconds.
# The packages bring their own C library, so any Debian or derivative on amd64 that knows apt will do.
# MIRROR names another Debian mirror (with debian-security beside it).
set -euo pipefail
umask 022
target=$1 new=$1.$$ suite=trixie keyring=/usr/share/keyrings/debian-archive-keyring.gpg
for old in "$target".*; do kill -0 "${old##*.}" 2>&- || rm -rf "$old"; done # what a kill -9 left
trap 'rm -rf "$new"' EXIT
trap 'kill $! 2>&-; wait; exit 130' INT TERM HUP # bash heeds a signal in `wait` only
here=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m1 '/debian$' || true)
mirror=${MIRROR:-${here:-http://deb.debian.org/debian}}
mkdir -p "$new"/apt/{lists/partial,archives/partial}
: >"$new/apt/status" # an empty list of installed packages keeps apt's answers independent of this machine
printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" $suite "$keyring" "$mirror-security" $suite-security \
  >"$new/apt/sources.list"
{
  apt-config dump | grep -E '^Acquire::https?[: ]' || true # a proxy set for this machine's apt
  cat <<CONF
Dir "$new/apt"; Dir::State "$new/apt"; Dir::State::status "$new/apt/status"; Dir::Cache "$new/apt";
Dir::Etc::sourcelist "$new/apt/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::Etc::parts "/dev/null";
Dir::Etc::preferencesparts "/dev/null"; APT::Sandbox::User "$(id -un)"; Acquire::Languages "none"; Acquire::Retries "2"; APT::Update::Error-Mode "any";
CONF
} >"$new/apt.conf"
export APT_CONFIG=$new/apt.conf
apt-get -qq update & wait $!
# Everything the binaries link to; names of a released Debian do not change any more.
packages="libc6 libgcc-s1 libstdc++6 libaudit1 libcap-ng0 libcap2 libcares2 libcom-err2 libevent-2.1-7t64
  libgssapi-krb5-2 libicu76 libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 libldap2 liblz4-1 liblzma5 libpam0g libpq5
  libreadline8t64 libsasl2-2 libssl3t64 libsystemd0 libtinfo6 libxml2 libxxhash0 libzstd1 zlib1g
  pgbouncer postgresql-17 postgresql-client-17 postgresql-17-pgvector"
(cd "$new/apt/archives" && exec apt-get -qq download $packages) & wait $!
for package in "$new"/apt/archives/*.deb; do dpkg-deb -x "$package" "$new"; done
# Run by the C library they were built for, found from the wrapper's own place: the folder may move.
for file in "$new"/usr/lib/postgresql/17/bin/{postgres,initdb,pg_config,psql,pg_dump} "$new/usr/sbin/pgbouncer"; do
  mv "$file" "$file.bin"
  cat >"$file" <<'WRAPPER'
#!/bin/sh
libraries="${0%/usr/*}/usr/lib/x86_64-linux-gnu"
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" --argv0 "$0" "$0.bin" "$@"
WRAPPER
  chmod 755 "$file"
done
# The JIT compiler would want 100 MB of LLVM and pays only for long analytical queries.
rm -rf "$new"/apt* "$new"/usr/share/{doc,man,locale,lintian} "$new"/usr/lib/postgresql/17/lib/{bitcode,llvmjit*}
mv -T "$new" "$target" 2>/dev/null || test -x "$target/usr/sbin/pgbouncer" # another run may have been faster
