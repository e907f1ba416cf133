#!/bin/sh
# Installs a package on this machine, as its owner would, and shows what came of
# it. Vagrant runs it, and so does make test-machines.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install -y --allow-downgrades -o Dpkg::Options::=--force-confold "$@" >/tmp/provision.log 2>&1 </dev/null || {
  cat /tmp/provision.log >&2
  exit 1
}
dpkg-query --show 'weft*'
