#!/usr/bin/env bash
# What tests need and a bare machine may lack, where it can be installed: a PostgreSQL server for the studies, and `ip`
# for the two hosts.
set -euo pipefail
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && command -v ip >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "no PostgreSQL or no ip, and no right to install it: the tests that need it cannot run" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends postgresql iproute2 >/dev/null
