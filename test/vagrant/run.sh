#!/usr/bin/env bash
# Runs the suite of test/machines on Vagrant's machines, and leaves them up:
# vagrant destroy ends them. Arguments go to go test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

config=$(mktemp)
trap 'rm -f "$config"' EXIT
vagrant up
vagrant ssh-config >"$config"
cd ../..
go test -tags machines -count 1 -parallel 8 -timeout 60m -v ./test/machines -ssh-config "$config" "$@"
