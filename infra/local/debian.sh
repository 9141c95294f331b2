#!/usr/bin/env bash
# Downloads PostgreSQL 17, pgvector and PgBouncer of Debian 13 (trixie), with security updates, into the folder $1.
# Needs no root and installs nothing. About 40 MB. Signatures are checked with debian-trixie.gpg, the keys of Debian 13
# from its package debian-archive-keyring, so the machine needs none.
# The packages contain their own C library, so this works on any system with apt on amd64 or arm64, such as Ubuntu.
# MIRROR sets another Debian mirror (with debian-security next to it), ARCHITECTURE another architecture.
set -euo pipefail
umask 022
target=$1 new=$1.$$ suite=trixie
architecture=${ARCHITECTURE:-$(dpkg --print-architecture)}
case $architecture in
  amd64) libraries=x86_64-linux-gnu loader=ld-linux-x86-64.so.2 ;;
  arm64) libraries=aarch64-linux-gnu loader=ld-linux-aarch64.so.1 ;;
  *) echo "Sluice's servers can be downloaded for amd64 and arm64, not for $architecture" >&2 && exit 1 ;;
esac
for old in "$target".*; do kill -0 "${old##*.}" 2>&- || rm -rf "$old"; done # left by a kill -9
trap 'rm -rf "$new"' EXIT
trap 'kill $! 2>&-; wait; exit 130' INT TERM HUP # bash handles signals only in `wait`
here=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m1 '/debian$' || true)
mirror=${MIRROR:-${here:-http://deb.debian.org/debian}}
mkdir -p "$new"/apt/{lists/partial,archives/partial,trusted}
: >"$new/apt/status" # an empty list of installed packages keeps apt's answers independent of this machine
cp "$(dirname "$0")/debian-trixie.gpg" "$new/apt/trusted"
printf 'deb %s %s main\n' "$mirror" $suite "$mirror-security" $suite-security \
  >"$new/apt/sources.list"
{
  apt-config dump | grep -E '^Acquire::https?[: ]' || true # the proxy settings of this machine's apt
  cat <<CONF
APT::Architecture "$architecture"; APT::Architectures { "$architecture"; };
Dir "$new/apt"; Dir::State "$new/apt"; Dir::State::status "$new/apt/status"; Dir::Cache "$new/apt";
Dir::Etc::trusted "/dev/null"; Dir::Etc::trustedparts "$new/apt/trusted"; Dir::Etc::sourcelist "$new/apt/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::Etc::parts "/dev/null";
Dir::Etc::preferencesparts "/dev/null"; APT::Sandbox::User "$(id -un)"; Acquire::Languages "none"; Acquire::Retries "2"; APT::Update::Error-Mode "any";
CONF
} >"$new/apt.conf"
export APT_CONFIG=$new/apt.conf
apt-get -qq update & wait $!
# All linked libraries. Package names of a released Debian do not change.
packages="libc6 libgcc-s1 libstdc++6 libaudit1 libcap-ng0 libcap2 libcares2 libcom-err2 libevent-2.1-7t64
  libgssapi-krb5-2 libicu76 libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 libldap2 liblz4-1 liblzma5 libpam0g libpq5
  libreadline8t64 libsasl2-2 libssl3t64 libsystemd0 libtinfo6 libxml2 libxxhash0 libzstd1 zlib1g
  pgbouncer postgresql-17 postgresql-client-17 postgresql-17-pgvector"
(cd "$new/apt/archives" && exec apt-get -qq download $packages) & wait $!
for package in "$new"/apt/archives/*.deb; do dpkg-deb -x "$package" "$new"; done
# Run the binaries with the C library they were built for. Paths are relative to the wrapper, so the folder can be moved.
for file in "$new"/usr/lib/postgresql/17/bin/{postgres,initdb,pg_config,psql,pg_dump} "$new/usr/sbin/pgbouncer"; do
  mv "$file" "$file.bin"
  cat >"$file" <<WRAPPER
#!/bin/sh
libraries="\${0%/usr/*}/usr/lib/$libraries"
exec "\$libraries/$loader" --library-path "\$libraries" --argv0 "\$0" "\$0.bin" "\$@"
WRAPPER
  chmod 755 "$file"
done
# The JIT compiler would need 100 MB of LLVM and only helps long analytical queries.
rm -rf "$new"/apt* "$new"/usr/share/{doc,man,locale,lintian} "$new"/usr/lib/postgresql/17/lib/{bitcode,llvmjit*}
mv -T "$new" "$target" 2>/dev/null || test -x "$target/usr/sbin/pgbouncer" # another run may have finished first
