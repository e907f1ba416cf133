#!/usr/bin/env bash
# Runs the agent's tests as Windows programs, by wine. Arguments are packages
# (default: all of the agent) and, after --, flags of the tests.
#
# Gaps of wine 8, which Debian 12 has, are closed here. Windows has none of them,
# and the same tests run there by `go test`, as they are:
#   bcryptprimitives.dll     made of prng.c
#   FileDispositionInfoEx    Go's own way for older Windows is taken
#   SIO_UDP_CONNRESET and    passed over: wine's UDP sockets never report that
#   SIO_UDP_NETRESET         nobody listened, which is what they would turn off
#   UDP bound to 127.0.1.1   nointerfaces.c
# One stays open: wine has no unix sockets, and tests that need one skip when
# they have found that out.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  packages+=("$1")
  shift
done
[ $# -eq 0 ] || shift
[ ${#packages[@]} -gt 0 ] || packages=(./cmd/dp-agent ./pkg/agent/... ./pkg/envoy ./pkg/settings ./pkg/keyfile)

dir=$(mktemp -d)
export WINEPREFIX=$dir/prefix WINEDEBUG=-all WINEDLLOVERRIDES="bcryptprimitives=n;mscoree,mshtml="
trap 'wineserver -k 2>/dev/null && wineserver -w; rm -rf "$dir"' EXIT

# replaced FILE EXPRESSION prints a line of the overlay: a file of Go's library
# as sed leaves it, which must have changed something.
replaced() {
  local from to
  from=$(go env GOROOT)/src/$1
  to=$dir/${1//\//_}
  sed "$2" "$from" >"$to"
  if cmp -s "$from" "$to"; then
    echo "$from is not what test/windows/run.sh replaces lines of" >&2
    return 1
  fi
  printf '"%s": "%s"' "$from" "$to"
}
deletion=$(replaced internal/syscall/windows/at_windows.go 's/^\tif TestDeleteatFallback {/\tif true {/')
resets=$(replaced net/fd_windows.go '/syscall.WSAIoctl(fd.pfd.Sysfd, \(syscall\|windows\).SIO_UDP_/,/return/ s/if err != nil/if false/')
printf '{"Replace": {%s, %s}}\n' "$deletion" "$resets" >"$dir/overlay.json"

clang-14 --target=x86_64-pc-windows-msvc -O1 -ffreestanding -mrdrnd -nostdlib -c test/windows/prng.c -o "$dir/prng.o"
lld-link-14 /dll /noentry /export:ProcessPrng "/out:$dir/bcryptprimitives.dll" "$dir/prng.o" >/dev/null
clang-14 -shared -fPIC -o "$dir/nointerfaces.so" test/windows/nointerfaces.c

mapfile -t tested < <(GOOS=windows go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' "${packages[@]}" | grep .)
[ ${#tested[@]} -gt 0 ]
mkdir "$dir/tests" "$WINEPREFIX"
# Files are made by the server; wine makes access lists of their modes.
(umask 077 && LD_PRELOAD=$dir/nointerfaces.so wineserver -p)
wine wineboot -i >/dev/null 2>&1
cp "$dir/bcryptprimitives.dll" "$WINEPREFIX/drive_c/windows/system32/"
failed=()
for package in "${tested[@]}"; do
  name=${package#"$PWD"/}
  exe=$dir/tests/${name//\//_}.exe
  GOOS=windows go test -trimpath -overlay "$dir/overlay.json" -c -o "$exe" "$package"
  began=$SECONDS
  if (cd "$package" && timeout 300 wine "$exe" -test.timeout 280s "$@" </dev/null) >"$dir/log" 2>&1; then
    echo "ok    $name ($((SECONDS - began)) s)"
    [ $# -eq 0 ] || cat "$dir/log"
  else
    echo "FAIL  $name ($((SECONDS - began)) s)"
    cat "$dir/log"
    failed+=("$name")
  fi
  rm -f "$exe"
done
[ ${#failed[@]} -eq 0 ] || { echo "failed by wine: ${failed[*]}" >&2; exit 1; }
