#!/usr/bin/env bash
# Measures the control plane at three sizes and writes docs/scale.md. It takes
# a quarter of an hour, on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
out=$dir/scale.md
ads=$dir/ads
go build -o "$ads" ./test/bench/ads
envoy=$(hack/envoy.sh)

measure() {
  "$ads" -envoy "$envoy" "$@" | tee /dev/stderr >>"$out"
  echo >>"$out"
}

# figure TABLE NAME N prints the N-th row of that name.
figure() {
  awk -F' *[|] *' -v name="$2" -v n="$3" '$2 == name && ++seen == n {print $3}' <<<"$1"
}

cat >"$out" <<TEXT
# Scale

What one control plane with its SQLite file does, measured by \`make scale\`, which writes this page. The control plane is the real program; the proxies are real gRPC streams over TLS 1.3, each on a connection of its own, three quarters of them
delta and one quarter state of the world. They acknowledge everything as Envoy does, and share the machine with the control plane. Dataplanes are registered over REST, and each registration is answered when it is on disk.

- *registered and all configured*: from the first registration until the last stream has all clusters, endpoints, listeners and routes that its dataplane wants.
- *endpoint added → last stream*: from the beginning of the PUT of a new dataplane until the last proxy that can call its service has its address.
- *policy of one service → last stream*: from the beginning of the PUT of a TrafficPermission until the last proxy of that service has it.
- *in force in real Envoys*: the same, seen in three real Envoys that run among these proxies, by asking their admin interface every millisecond.
- *floors* are the least that the same work takes, measured in the same run: a gRPC server that gives one ready-made answer to as many streams, the library's bare cache, single steps.

Measured on $(date -u +%Y-%m-%d), $(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)), $(go version | cut -d' ' -f3), version $(git describe --tags --always --dirty).

## A thousand hosts, each calling five of a hundred services

TEXT
measure -proxies 1000 -services 100 -outbounds 5
printf '## Two hundred redirected hosts that see all of a hundred services\n\n' >>"$out"
measure -proxies 200 -services 100 -transparent -churn 30s -bulk 0 -floors=false
printf '## Five thousand hosts, each calling ten of five hundred services\n\n' >>"$out"
measure -proxies 5000 -services 500 -outbounds 10 -churn 30s -bulk 0
cat >>"$out" <<'TEXT'
## Cost grows with what changed

The same changes in meshes of growing size: an endpoint of a service that fifty proxies call, a permission of a service that ten proxies offer. CPU is all that the control plane used while the changes came, three a second, divided by their number; what it does without them, such as looking at credentials
again once a minute, is in it.

| proxies | endpoint → last stream | CPU a change | policy → last stream | CPU a change |
| --- | --- | --- | --- | --- |
TEXT
for n in 100 500 1000 2500 5000; do
  got=$("$ads" -proxies "$n" -services $((n / 10)) -outbounds 5 -floors=false -world 0 -only endpoints,policies | tee /dev/stderr)
  printf '| %s | %s | %s | %s | %s |\n' "$n" "$(figure "$got" 'endpoint added → last stream' 1)" "$(figure "$got" 'CPU for that' 1)" \
    "$(figure "$got" 'policy of one service → last stream' 1)" "$(figure "$got" 'CPU for that' 2)" >>"$out"
done
cat >>"$out" <<'TEXT'

What three replicas on one PostgreSQL carry is in [replicas.md](replicas.md).
TEXT
mv "$out" docs/scale.md
chmod 0644 docs/scale.md
