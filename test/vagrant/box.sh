#!/usr/bin/env bash
# Makes a box for Vagrant's libvirt provider out of the machine of
# test/machines/image.sh: a disk that boots by BIOS, and the user vagrant with the
# key that everybody knows, which Vagrant replaces.
#
#   test/vagrant/box.sh OUT.box
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

out=$1
image=$("$here/../machines/image.sh")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
grub=/usr/lib/grub/i386-pc
[ -d "$grub" ] || { echo "box.sh: $grub is missing: install grub-pc-bin" >&2; exit 1; }

# What the box has besides. Vagrant speaks to the first interface, and gives
# addresses to others.
root=$tmp/root
cp -a --reflink=auto "$image/root" "$root"
chroot "$root" useradd --create-home --shell /bin/bash vagrant
install -d -m 0700 -o "$(chroot "$root" id -u vagrant)" -g "$(chroot "$root" id -g vagrant)" "$root/home/vagrant/.ssh"
cp "$here/vagrant.pub" "$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" chown vagrant: /home/vagrant/.ssh/authorized_keys
chmod 0600 "$root/home/vagrant/.ssh/authorized_keys"
rm -rf "$root/root/.ssh"
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/vagrant"
chmod 0440 "$root/etc/sudoers.d/vagrant"
printf '[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n' >"$root/etc/systemd/network/90-dhcp.network"
rm "$root/etc/systemd/network/10-weft.network"
install -d "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<'GRUB'
set timeout=0
menuentry Debian {
  search --no-floppy --label weft-root --set root
  linux /vmlinuz root=LABEL=weft-root rw quiet console=tty0 console=ttyS0
  initrd /initrd.img
}
GRUB

# One partition after the boot loader, which lies in the first megabyte.
size=$((4 << 30))
truncate -s "$size" "$tmp/disk.raw"
echo '2048,,L,*' | sfdisk --quiet "$tmp/disk.raw"
truncate -s $((size - (1 << 20))) "$tmp/part.raw"
mkfs.ext4 -q -L weft-root -d "$root" "$tmp/part.raw"
dd if="$tmp/part.raw" of="$tmp/disk.raw" bs=1M seek=1 conv=notrunc,sparse status=none
grub-mkimage -O i386-pc -d "$grub" -p '(hd0,msdos1)/boot/grub' -o "$tmp/core.img" biosdisk part_msdos ext2 normal linux search search_label configfile
dd if="$grub/boot.img" of="$tmp/disk.raw" bs=440 count=1 conv=notrunc status=none
dd if="$tmp/core.img" of="$tmp/disk.raw" bs=512 seek=1 conv=notrunc status=none

qemu-img convert -O qcow2 -c "$tmp/disk.raw" "$tmp/box.img"
echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 4}' >"$tmp/metadata.json"
echo 'Vagrant.configure("2") { |config| config.vm.synced_folder ".", "/vagrant", disabled: true }' >"$tmp/Vagrantfile"
mkdir -p "$(dirname "$out")"
tar -C "$tmp" -czf "$out" metadata.json Vagrantfile box.img
echo "$out: WEFT_BOX=$out test/vagrant/run.sh"
