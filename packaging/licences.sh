#!/usr/bin/env bash
# Prints the licence texts of every module that is in the given programs, from
# the module cache. It fails where a module has none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mapfile -t modules < <(for program in "$@"; do go version -m "$program"; done | awk '$1 == "dep" {print $2}' | sort -u)
# Each as module@version, and the folder in the cache where it lies.
found_in=$(go list -m -f '{{.Path}}@{{.Version}} {{.Dir}}' "${modules[@]}")
missing=()
while read -r module dir; do
  found=
  for file in "$dir"/{LICENSE,LICENCE,COPYING,NOTICE,PATENTS}*; do
    [ -f "$file" ] || continue
    found=yes
    printf '\n==== %s: %s\n\n' "$module" "$(basename "$file")"
    cat "$file"
  done
  [ -n "$found" ] || missing+=("$module")
done <<<"$found_in"
printf '\n==== The Go standard library: LICENSE\n\n'
cat "$(go env GOROOT)/LICENSE"
if [ ${#missing[@]} -gt 0 ]; then
  echo "licences.sh: no licence text in ${missing[*]}" >&2
  exit 1
fi
