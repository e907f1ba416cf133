#!/bin/sh
# Installs on a Debian machine what the tests look with, and what joins many
# hosts. image.sh runs it in the machine that it makes, and Vagrant in its own.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
[ -n "$(find /var/lib/apt/lists -name '*_Packages*' -print -quit)" ] || apt-get update -qq
apt-get install -y -qq --no-install-recommends \
  ansible-core bash-completion ca-certificates cloud-init curl iproute2 man-db nftables procps python3-apt python3-minimal sudo </dev/null >/dev/null
