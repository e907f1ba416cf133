#!/usr/bin/env bash
# Measures the control plane at three sizes and writes docs/scale.md. It takes
# about ten minutes, on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(mktemp)
trap 'rm -f "$out"' EXIT
ads=$(mktemp -d)/ads
go build -o "$ads" ./test/bench/ads

measure() {
  "$ads" "$@" | tee /dev/stderr >>"$out"
  echo >>"$out"
}

cat >"$out" <<TEXT
# Scale

What one control plane with its SQLite file does, measured by \`make scale\`, which writes this page. The control plane is the real program; the proxies are real gRPC streams over TLS 1.3, each on a connection of its own, three quarters of them
delta and one quarter state of the world. They acknowledge everything as Envoy does, and share the machine with the control plane. Dataplanes are registered over REST, and each registration is answered when it is on disk.

- *registered and all configured*: from the first registration until the last stream has all clusters, endpoints, listeners and routes that its dataplane wants.
- *endpoint added → last stream*: from the beginning of the PUT of a new dataplane until the last proxy that can call its service has its address.
- *policy of one service → last stream*: from the beginning of the PUT of a TrafficPermission until the last proxy of that service has it.
- *floors* are the least that the same work takes, measured in the same run: a gRPC server that gives one ready-made answer to as many streams, the library's bare cache, single steps.

Measured on $(date -u +%Y-%m-%d), $(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)), $(go version | cut -d' ' -f3), version $(git describe --tags --always --dirty).

## A thousand hosts, each calling five of a hundred services

TEXT
measure -proxies 1000 -services 100 -outbounds 5
printf '## Two hundred redirected hosts that see all of a hundred services\n\n' >>"$out"
measure -proxies 200 -services 100 -transparent -bulk 0 -floors=false
printf '## Five thousand hosts, each calling ten of five hundred services\n\n' >>"$out"
measure -proxies 5000 -services 500 -outbounds 10 -idle 30s -churn 30s -bulk 0
cat >>"$out" <<'TEXT'
## Cost grows with what changed

The same change, an endpoint of a service that fifty proxies call, in meshes of growing size.

TEXT
for n in 100 500 1000 2500 5000; do
  measure -proxies "$n" -services $((n / 10)) -outbounds 5 -idle 0s -churn 0s -bulk 0 -floors=false -world 0 -only endpoints
done
mv "$out" docs/scale.md
chmod 0644 docs/scale.md
