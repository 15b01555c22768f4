#!/usr/bin/env bash
# A browser for the tests of the report's page: Debian's Chromium, where it is missing and can be installed.
set -euo pipefail
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "no chromium, and no right to install it: the tests of the report's page cannot run" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium >/dev/null
