#!/usr/bin/env bash
# Prints the version of packages: a tag v1.2.3 is 1.2.3, commits after it are
# 1.2.3+4.gabcdef0, and without a tag it is older than every release and grows
# with the time of the commit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -n "${WEFT_VERSION:-}" ]; then
  echo "$WEFT_VERSION"
  exit 0
fi
dirty=
[ -z "$(git status --porcelain --untracked-files=no)" ] || dirty=.dirty
if tagged=$(git describe --tags --match 'v[0-9]*' --long --abbrev=7 2>/dev/null); then
  IFS=- read -r tag commits hash <<<"$(sed -E 's/^v(.*)-([0-9]+)-(g[0-9a-f]+)$/\1-\2-\3/' <<<"$tagged")"
  if [ "$commits" = 0 ] && [ -z "$dirty" ]; then echo "$tag"; else echo "$tag+$commits.$hash$dirty"; fi
else
  echo "0~git$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d%H%M%S).$(git rev-parse --short=7 HEAD)$dirty"
fi
