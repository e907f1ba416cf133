#!/usr/bin/env bash
# Makes the packages: deb and rpm of weft-cp and weft-agent, with checksums and a
# bill of materials for each program. The same commit gives the same bytes.
#
#   packaging/build.sh OUT    into that folder, which is made anew
#
# ARCH is amd64 (default) or arm64, ENVOY a file for that architecture in place of
# the pinned one, WEFT_VERSION another version than git's, PACKAGES some of them,
# COMPRESSION that of debs, such as none, NFPM and CYCLONEDX the tools; see the
# Makefile. Where Envoy cannot be had for a foreign architecture, weft-agent is
# left out, with a word.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=$1
arch=${ARCH:-amd64}
nfpm=${NFPM:-nfpm}
cyclonedx=${CYCLONEDX:-cyclonedx-gomod}

# The caller's folder is where OUT is from.
case $out in /*) ;; *) out=$OLDPWD/$out ;; esac

VERSION=$(packaging/version.sh)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
packages=${PACKAGES:-weft-cp weft-agent}
envoy=
case " $packages " in *' weft-agent '*)
  if ! envoy=$(ENVOY_ARCH=$arch hack/envoy.sh); then
    [ -z "${ENVOY:-}" ] && [ "$arch" != "$(go env GOHOSTARCH)" ] || exit 1
    echo "build.sh: weft-agent is not made for $arch, as its Envoy is not there: give one with ENVOY=/path" >&2
    packages=${packages/weft-agent/}
  fi
  ;;
esac
programs="$packages weftctl"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
umask 022
export SOURCE_DATE_EPOCH CGO_ENABLED=0 LC_ALL=C TZ=UTC

# build ARCHITECTURE FOLDER: the programs. The work tree says nothing but the
# version, so that a clone elsewhere makes the same bytes.
declare -A source=([weft-cp]=./cmd/cp [weft-agent]=./cmd/dp-agent [weftctl]=./cmd/ctl)
build() {
  local program
  for program in $programs; do
    GOARCH=$1 GOFLAGS='' go build -trimpath -buildvcs=false -tags grpcnotrace -ldflags "-s -w -X main.version=$VERSION" -o "$2/$program" "${source[$program]}"
  done
}
build "$arch" "$stage/bin"
own=$stage/bin
if [ "$arch" != "$(go env GOHOSTARCH)" ]; then
  own=$stage/own
  build "$(go env GOHOSTARCH)" "$own"
fi

# What the programs tell of themselves.
mkdir -p "$stage"/{man,completions/{bash,zsh,fish}}
for program in $programs; do
  "$own/$program" manual "$stage/man" >/dev/null
  "$own/$program" completion bash >"$stage/completions/bash/$program"
  "$own/$program" completion zsh >"$stage/completions/zsh/_$program"
  "$own/$program" completion fish >"$stage/completions/fish/$program.fish"
done
for program in $programs; do
  mkdir -p "$stage/man-$program"
  for page in "$stage/man/$program"*.[18]; do
    gzip -9nc "$page" >"$stage/man-$program/${page##*/}.gz"
  done
done

# What is in them: every module, by what the programs themselves say, and the
# terms under which each is used.
for program in $programs; do
  "$cyclonedx" bin -json -noserial -std -version "$VERSION" -output "$stage/$program.cdx.json" "$stage/bin/$program" 2>/dev/null
  # The bill says when it was made, and takes no other word for it.
  sed -i "s/\"timestamp\": \"[^\"]*\"/\"timestamp\": \"$(date --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)\"/" "$stage/$program.cdx.json"
done
for package in $packages; do
  packaging/licences.sh "$stage/bin/$package" "$stage/bin/weftctl" >"$stage/licences-$package"
done
if [ -n "$envoy" ]; then
  { printf '\n==== Envoy\n\nSource: https://github.com/envoyproxy/envoy\n\n'; cat packaging/licences/Apache-2.0; } >>"$stage/licences-weft-agent"
  cp "$envoy" "$stage/envoy"
fi
# script PACKAGE EVENT PARTS...: a maintainer script is what the package is
# about, what it needs of parts, and what happens.
script() {
  local to=$stage/$1.$2 part
  { printf '#!/bin/sh\nset -e\n'; for part in "$1.names" "${@:3}" "$2"; do cat "packaging/scripts/$part.sh"; done; } >"$to"
  chmod 0755 "$to"
}
for package in $packages; do
  for format in deb:postinst:prerm:postrm rpm:post:preun:postun; do
    IFS=: read -r format post pre after <<<"$format"
    script "$package" "$format-$post" weftctl.offer
    script "$package" "$format-$pre" weftctl.withdraw "$package.withdraw"
    script "$package" "$format-$after" "$package.forget"
  done
done
cp packaging/copyright "$stage/copyright"
changed="See changelog.gz beside this file, or CHANGELOG.md of the source."
maintainer="The Weft authors <weft-mesh@users.noreply.github.com>"
printf -- '- semver: "%s-1"\n  date: %s\n  packager: %s\n  changes: [{note: "%s"}]\n' \
  "$VERSION" "$(date --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" "$maintainer" "$changed" >"$stage/changelog.yaml"
gzip -9n <CHANGELOG.md >"$stage/CHANGELOG.md.gz"
find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

rm -rf "$out"
mkdir -p "$out"
for package in $packages; do
  printf '%s (%s-1) unstable; urgency=medium\n\n  * %s\n\n -- %s  %s\n' \
    "$package" "$VERSION" "$changed" "$maintainer" "$(date -R --date="@$SOURCE_DATE_EPOCH")" | gzip -9n >"$stage/$package.changelog.gz"
  touch --date="@$SOURCE_DATE_EPOCH" "$stage/$package.changelog.gz"
  for format in deb rpm; do
    config=$stage/$package.$format.yaml
    sed -e "s|\${STAGE}|$stage|g; s|\${VERSION}|$VERSION|g; s|\${ARCH}|$arch|g${COMPRESSION:+; s/compression: gzip/compression: $COMPRESSION/}" "packaging/nfpm/$package.yaml" >"$config"
    as=''
    if [ $format = rpm ]; then
      as=', type: doc'
      echo "changelog: $stage/changelog.yaml" >>"$config.head"
      cat "$config" >>"$config.head" && mv "$config.head" "$config"
    fi
    for page in "$stage/man-$package"/*.gz; do
      echo "  - {src: $page, dst: /usr/share/man/man8/${page##*/}$as}"
    done >>"$config"
    "$nfpm" package --config "$config" --packager $format --target "$out/" >/dev/null
  done
done
for program in $programs; do
  cp "$stage/$program.cdx.json" "$out/$program-$arch.cdx.json"
done
(cd "$out" && sha256sum -- *.deb *.rpm *.json >SHA256SUMS)
ls "$out"
