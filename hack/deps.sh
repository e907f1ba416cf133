#!/usr/bin/env bash
# Installs the Debian packages that tests, checks and demo need, and nothing
# when they are there; "machines" adds what whole machines are made with,
# "windows" what Windows' programs are run with.
set -euo pipefail

# program -> package
wanted=(
  ip:iproute2
  nft:nftables
  iptables-restore:iptables
  ipset:ipset
  curl:curl
  openssl:openssl
  unshare:util-linux
  shellcheck:shellcheck
  python3:python3
  make:make
  clang-14:clang-14
  llvm-strip-14:llvm-14
  lintian:lintian
  rpm:rpm
  rpmlint:rpmlint
  cpio:cpio
  systemd-analyze:systemd
)

# What make test-machines needs besides.
if [ "${1:-}" = machines ]; then
  wanted+=(
    debootstrap:debootstrap
    systemd-nspawn:systemd-container
    qemu-system-x86_64:qemu-system-x86
    qemu-img:qemu-utils
    ssh:openssh-client
    mkfs.ext4:e2fsprogs
    grub-mkimage:grub-common
    sfdisk:fdisk
  )
fi

# What make test-windows needs besides.
if [ "${1:-}" = windows ]; then
  wanted+=(
    wine:wine
    lld-link-14:lld-14
  )
fi

missing=()
for pair in "${wanted[@]}"; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing+=("${pair##*:}")
done
[ -e /usr/include/bpf/bpf_helpers.h ] || missing+=(libbpf-dev)
[ "${1:-}" != machines ] || [ -d /usr/lib/grub/i386-pc ] || missing+=(grub-pc-bin)
[ -e /usr/include/linux/bpf.h ] || missing+=(linux-libc-dev)
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing+=(postgresql)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "missing Debian packages: ${missing[*]}; install them, or run this as root" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq </dev/null
apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
