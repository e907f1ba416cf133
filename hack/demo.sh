#!/usr/bin/env bash
# Lays three hosts out of network namespaces, runs the mesh on them and shows a
# call, a denied call, and the same call permitted. Everything that it makes is
# gone when it ends, however it ends.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" -eq 0 ] || { echo "the demo makes network namespaces: run it as root" >&2; exit 1; }

bin=${WEFT_BIN:-$PWD/bin}
envoy=$(hack/envoy.sh)
dir=$(mktemp -d "${TMPDIR:-/tmp}/weft-demo.XXXXXX")
id=${dir##*.}
pids=()
hosts=(cp web api)

cleanup() {
  local status=$?
  trap - EXIT INT TERM
  set +e
  for h in web api; do # Envoy goes on without its agent, unless both are stopped
    [ ! -e "$dir/$h/agent.yaml" ] || on "$h" "$bin/weft-agent" stop --drain-time 0s --config "$dir/$h/agent.yaml" >>"$dir/stop-$h.log" 2>&1
  done
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
  for h in "${hosts[@]}"; do
    [ -e "/run/netns/weft-$h-$id" ] && ip netns del "weft-$h-$id"
  done
  if [ "$status" -ne 0 ] && [ "$status" -ne 130 ]; then
    echo "the demo failed; the last lines of its logs:" >&2
    tail -n 15 "$dir"/*.log >&2
  fi
  rm -rf "$dir"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# enter HOST COMMAND...: becomes a command on that host, with its resolv.conf.
enter() {
  local host=$1
  shift
  # shellcheck disable=SC2016 # the inner shell expands them
  exec nsenter --net="/run/netns/weft-$host-$id" \
    unshare --mount sh -c 'mount --bind "$1" /etc/resolv.conf; shift; exec "$@"' sh "$dir/resolv.conf" "$@"
}

# on HOST COMMAND...: runs a command on that host.
on() { (enter "$@"); }

# start HOST LOG COMMAND...: the same in the background, ended by its pid, and
# out of the terminal's reach: Ctrl-C is for the demo.
start() {
  local host=$1 log=$2
  shift 2
  enter "$host" setsid "$@" >"$dir/$log.log" 2>&1 </dev/null &
  pids+=($!)
}

ctl() { on cp "$bin/weftctl" --server "unix://$dir/cp/api.sock" "$@"; }
# shown HOST COMMAND...: prints what a person would type there, then does it.
shown() {
  local host=$1
  shift
  printf '  %s$ %s\n' "$host" "$*"
}

# until_ok WHAT COMMAND...: waits for a command to succeed, 20 s at most.
until_ok() {
  local what=$1 deadline=$((SECONDS + 20))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "waited 20 s for $what" >&2; return 1; }
    sleep 0.1
  done
}

say "Three hosts, each a network namespace"
echo "nameserver 198.51.100.1" >"$dir/resolv.conf"
for i in 0 1 2; do
  h=${hosts[$i]}
  ip netns add "weft-$h-$id"
  ip -n "weft-$h-$id" link set lo up
done
ip -n "weft-cp-$id" link add br0 type bridge
ip -n "weft-cp-$id" address add 198.51.100.1/24 dev br0
ip -n "weft-cp-$id" address add 2001:db8:57::1/64 dev br0 nodad
ip -n "weft-cp-$id" link set br0 up
for i in 1 2; do
  h=${hosts[$i]}
  ip -n "weft-cp-$id" link add "to-$h" type veth peer name eth0 netns "weft-$h-$id"
  ip -n "weft-cp-$id" link set "to-$h" master br0 up
  ip -n "weft-$h-$id" address add "198.51.100.$((i + 1))/24" dev eth0
  ip -n "weft-$h-$id" address add "2001:db8:57::$((i + 1))/64" dev eth0 nodad
  ip -n "weft-$h-$id" link set eth0 up
done
echo "  cp   198.51.100.1  the control plane"
echo "  web  198.51.100.2  an agent with its Envoy, and a service on port 8080"
echo "  api  198.51.100.3  an agent with its Envoy, and a service on port 8080"

say "The control plane"
shown cp "weft-cp run"
start cp weft-cp "$bin/weft-cp" run --data-dir "$dir/cp" --api-socket "$dir/cp/api.sock"
until_ok "the control plane" ctl get meshes

say "Each host joins with one token"
for h in web api; do
  shown cp "weftctl join-token --tag kuma.io/service=$h --name $h-1"
  token=$(ctl join-token --tag "kuma.io/service=$h" --name "$h-1" --address 198.51.100.1:5678)
  shown "$h" "weft-agent join ${token:0:24}... --service $h --port 8080 --protocol http"
  on "$h" "$bin/weft-agent" join "$token" --service "$h" --port 8080 --protocol http --name "$h-1" \
    --config "$dir/$h/agent.yaml" --state-dir "$dir/$h/state" --run-dir "$dir/$h/run" --envoy "$envoy" >"$dir/join-$h.log" 2>&1
  shown "$h" "weft-agent run"
  start "$h" "agent-$h" "$bin/weft-agent" run --config "$dir/$h/agent.yaml"
  start "$h" "service-$h" python3 hack/demo-service.py "$h" 8080
done
for h in web api; do
  until_ok "the agent on $h" on "$h" "$bin/weft-agent" status --config "$dir/$h/agent.yaml"
done

permission() {
  cat <<YAML
type: TrafficPermission
mesh: default
name: $1-to-$2
sources: [{match: {kuma.io/service: $1}}]
destinations: [{match: {kuma.io/service: $2}}]
YAML
}

call() { on "$1" curl --silent --show-error --max-time 5 --fail --ipv"$3" "http://$2.mesh/" 2>&1; }

say "web may call api, by IPv4 and IPv6; the service sees who calls"
permission web api >"$dir/web-to-api.yaml"
shown cp "weftctl apply -f web-to-api.yaml"
ctl apply -f "$dir/web-to-api.yaml" | sed 's/^/  /'
until_ok "the permission" call web api 4
for family in 4 6; do
  shown web "curl -$family http://api.mesh/"
  call web api "$family" | sed 's/^/  /'
done

say "api calls web: no permission, so it is denied"
shown api "curl http://web.mesh/"
if answer=$(call api web 4); then
  echo "  this call must not succeed, but answered: $answer" >&2
  exit 1
fi
echo "  ${answer}"
shown cp "weftctl inspect dataplane web-1 --stage plan"
ctl inspect dataplane web-1 --stage plan | grep -m1 'why:' | sed 's/^ */  /'

say "The same call with a permission"
permission api web >"$dir/api-to-web.yaml"
shown cp "weftctl apply -f api-to-web.yaml"
ctl apply -f "$dir/api-to-web.yaml" | sed 's/^/  /'
until_ok "the permission" call api web 4
shown api "curl http://web.mesh/"
call api web 4 | sed 's/^/  /'

say "How the host is"
shown web "weft-agent status"
on web "$bin/weft-agent" status --config "$dir/web/agent.yaml" | sed 's/^/  /'

if [ -t 0 ] && [ -t 1 ]; then
  say "It stays up until Ctrl-C. Try in another terminal, as root, in $PWD:"
  cat <<TRY
  # a shell on the host of web; curl http://api.mesh/ works there
  nsenter --net=/run/netns/weft-web-$id unshare --mount sh -c 'mount --bind $dir/resolv.conf /etc/resolv.conf; exec bash'
  # what there is, and what web may do
  bin/weftctl --server unix://$dir/cp/api.sock get dataplanes
  bin/weftctl --server unix://$dir/cp/api.sock inspect dataplane web-1 --stage plan
  # close the way again
  bin/weftctl --server unix://$dir/cp/api.sock delete traffic-permission web-to-api
  # what is redirected on web, and whether it is as it should be
  nsenter --net=/run/netns/weft-web-$id nft list table inet weft
  nsenter --net=/run/netns/weft-web-$id bin/weft-agent redirect check --config $dir/web/agent.yaml
TRY
  sleep infinity &
  pids+=($!)
  wait $!
fi
