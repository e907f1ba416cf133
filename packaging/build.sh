#!/usr/bin/env bash
# Makes the packages: deb and rpm of weft-cp and weft-agent, with checksums and a
# bill of materials for each program. The same commit gives the same bytes.
#
#   packaging/build.sh OUT    into that folder, which is made anew
#
# ARCH is amd64 (default) or arm64, WEFT_VERSION another version than git's,
# PACKAGES some of them, COMPRESSION that of debs, such as none, NFPM and CYCLONEDX the tools; see the Makefile.
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
envoy=$(ENVOY_ARCH=$arch hack/envoy.sh)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
umask 022
export SOURCE_DATE_EPOCH CGO_ENABLED=0 LC_ALL=C TZ=UTC

# build ARCHITECTURE FOLDER: the three programs. The work tree says nothing but
# the version, so that a clone elsewhere makes the same bytes.
build() {
  local program
  for program in weft-cp:./cmd/cp weft-agent:./cmd/dp-agent weftctl:./cmd/ctl; do
    GOARCH=$1 GOFLAGS='' go build -trimpath -buildvcs=false -tags grpcnotrace -ldflags "-s -w -X main.version=$VERSION" -o "$2/${program%%:*}" "${program##*:}"
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
for program in weft-cp weft-agent weftctl; do
  "$own/$program" manual "$stage/man" >/dev/null
  "$own/$program" completion bash >"$stage/completions/bash/$program"
  "$own/$program" completion zsh >"$stage/completions/zsh/_$program"
  "$own/$program" completion fish >"$stage/completions/fish/$program.fish"
done
for set in weft-cp:8 weft-agent:8 weftctl:1; do
  mkdir -p "$stage/man-${set%%:*}"
  for page in "$stage/man/${set%%:*}"*."${set##*:}"; do
    gzip -9nc "$page" >"$stage/man-${set%%:*}/${page##*/}.gz"
  done
done

# What is in them: every module, by what the programs themselves say, and the
# terms under which each is used.
for program in weft-cp weft-agent weftctl; do
  "$cyclonedx" bin -json -noserial -std -version "$VERSION" -output "$stage/$program.cdx.json" "$stage/bin/$program" 2>/dev/null
  # The bill says when it was made, and takes no other word for it.
  sed -i "s/\"timestamp\": \"[^\"]*\"/\"timestamp\": \"$(date --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)\"/" "$stage/$program.cdx.json"
done
packaging/licences.sh "$stage/bin/weft-cp" "$stage/bin/weftctl" >"$stage/licences-weft-cp"
{
  packaging/licences.sh "$stage/bin/weft-agent" "$stage/bin/weftctl"
  printf '\n==== Envoy\n\nSource: https://github.com/envoyproxy/envoy\n\n'
  cat packaging/licences/Apache-2.0
} >"$stage/licences-weft-agent"

cp "$envoy" "$stage/envoy"
# script PACKAGE EVENT PARTS...: a maintainer script is what the package is
# about, what it needs of parts, and what happens.
script() {
  local to=$stage/$1.$2 part
  { printf '#!/bin/sh\nset -e\n'; for part in "$1.names" "${@:3}" "$2"; do cat "packaging/scripts/$part.sh"; done; } >"$to"
  chmod 0755 "$to"
}
for package in weft-cp weft-agent; do
  for format in deb:postinst:prerm:postrm rpm:post:preun:postun; do
    IFS=: read -r format post pre after <<<"$format"
    script $package "$format-$post" weftctl.offer
    script $package "$format-$pre" weftctl.withdraw $package.withdraw
    script $package "$format-$after" $package.forget
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
for package in ${PACKAGES:-weft-cp weft-agent}; do
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
for program in weft-cp weft-agent weftctl; do
  cp "$stage/$program.cdx.json" "$out/$program-$arch.cdx.json"
done
(cd "$out" && sha256sum -- *.deb *.rpm *.json >SHA256SUMS)
ls "$out"
