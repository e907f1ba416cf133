
if [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload >/dev/null || true
fi
case "$1" in
remove)
  if command -v deb-systemd-helper >/dev/null; then
    for unit in $units; do
      deb-systemd-helper mask "$unit" >/dev/null || true
    done
  fi
  ;;
purge)
  if command -v deb-systemd-helper >/dev/null; then
    for unit in $units; do
      deb-systemd-helper purge "$unit" >/dev/null || true
      deb-systemd-helper unmask "$unit" >/dev/null || true
    done
  fi
  forget
  if getent passwd "$user" >/dev/null; then
    userdel "$user" >/dev/null 2>&1 || true
  fi
  rmdir --ignore-fail-on-non-empty /etc/weft 2>/dev/null || true
  ;;
esac
