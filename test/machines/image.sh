#!/usr/bin/env bash
# Prints the folder of a Debian 12 machine that knows nothing of Weft, making it
# first where the cache has none: root/ for systemd-nspawn, disk.raw (ext4, no
# partitions) with vmlinuz and initrd for qemu, and the key by which root logs
# in over SSH. Everything but the path goes to standard error. Needs root.
set -euo pipefail

suite=bookworm
# What a server has; base.sh has the rest.
packages=(systemd systemd-sysv dbus udev kmod netbase openssh-server less linux-image-cloud-amd64 initramfs-tools)

fail() {
  echo "image.sh: $*" >&2
  exit 1
}

[ "$(id -u)" -eq 0 ] || fail "only root can make the root of a machine"
[ "$(uname -m)" = x86_64 ] || fail "these machines are for x86_64, and this one is $(uname -m)"
for tool in debootstrap:debootstrap mkfs.ext4:e2fsprogs ssh-keygen:openssh-client; do
  command -v "${tool%%:*}" >/dev/null || fail "${tool%%:*} is missing: install ${tool##*:}, or run hack/deps.sh machines"
done

# Another recipe is another machine.
here=$(dirname "${BASH_SOURCE[0]}")
recipe=$(cat "${BASH_SOURCE[0]}" "$here/guest/base.sh" | sha256sum | cut -c 1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/weft/machines
dir=$cache/debian-12-$recipe
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ -e "$dir/complete" ]; then
  echo "$dir"
  exit 0
fi

# shellcheck disable=SC2016 # apt fills them in
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | awk -v suite="$suite" '$2 == suite {print $1; exit}')
[ -n "$mirror" ] || fail "apt on this machine knows no mirror of Debian's suite $suite"

tmp=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
root=$tmp/root
echo "image.sh: making a Debian 12 machine, which takes some minutes" >&2
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$tmp/log" 2>&1 ||
  { tail -n 20 "$tmp/log" >&2; fail "debootstrap failed"; }
# apt knows the order in which packages are configured; debootstrap guesses it.
# Mounts are of a namespace that ends with the command, and nothing is started.
cp /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
cp "$here/guest/base.sh" "$root/tmp/base.sh"
# shellcheck disable=SC2016 # the inner shell expands them
unshare --mount --pid --fork --kill-child sh -euc '
  mount -t proc proc "$1/proc"
  exec chroot "$@"
' sh "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  sh -euc 'apt-get install -y -qq --no-install-recommends "$@" </dev/null; sh /tmp/base.sh' sh "${packages[@]}" >>"$tmp/log" 2>&1 ||
  { tail -n 20 "$tmp/log" >&2; fail "apt-get install in the new machine failed"; }
rm "$root/usr/sbin/policy-rc.d" "$root/etc/resolv.conf" "$root/tmp/base.sh"

ssh-keygen -q -t ed25519 -N '' -C weft-machines -f "$tmp/key"
install -d -m 0700 "$root/root/.ssh"
install -m 0600 "$tmp/key.pub" "$root/root/.ssh/authorized_keys"

echo machine >"$root/etc/hostname"
echo '127.0.0.1 localhost
::1 localhost' >"$root/etc/hosts"
# Each boot is another machine's; nothing may fetch anything while it boots.
: >"$root/etc/machine-id"
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer man-db.timer logrotate.timer; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# cloud-init does its work only where a test gives it a seed.
touch "$root/etc/cloud/cloud-init.disabled"
echo 'datasource_list: [NoCloud]' >"$root/etc/cloud/cloud.cfg.d/90-weft.cfg"
echo 'network: {config: disabled}' >"$root/etc/cloud/cloud.cfg.d/91-network.cfg"
# Addresses are said by whoever starts the machine, in a file of its own.
cat >"$root/etc/systemd/network/10-weft.network" <<'UNIT'
[Match]
Name=host0 eth0 en*

[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no
UNIT
ln -sf /usr/lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
rm -f "$root"/etc/ssh/ssh_host_*
chroot "$root" ssh-keygen -A >/dev/null
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*

cp -L "$root/vmlinuz" "$tmp/vmlinuz"
cp -L "$root/initrd.img" "$tmp/initrd"
truncate -s 4G "$tmp/disk.raw"
mkfs.ext4 -q -L weft-root -d "$root" "$tmp/disk.raw"
touch "$tmp/complete"
rm -rf "$cache"/debian-12-*
mv "$tmp" "$dir"
echo "$dir"
