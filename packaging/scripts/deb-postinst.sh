
case "$1" in
configure | abort-upgrade | abort-deconfigure | abort-remove)
  systemd-sysusers "$package.conf"
  if [ -e "/usr/lib/tmpfiles.d/$package.conf" ]; then
    systemd-tmpfiles --create "$package.conf" || true
  fi
  weftctl_offer 50
  for unit in $units; do
    deb-systemd-helper unmask "$unit" >/dev/null || true
    # What its owner disabled stays so.
    if deb-systemd-helper --quiet was-enabled "$unit"; then
      deb-systemd-helper enable "$unit" >/dev/null || true
    else
      deb-systemd-helper update-state "$unit" >/dev/null || true
    fi
  done
  if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
    action=start
    [ -z "$2" ] || action=restart
    deb-systemd-invoke $action "$start" >/dev/null || true
  fi
  ;;
esac
