
systemd-sysusers "$package.conf"
if [ -e "/usr/lib/tmpfiles.d/$package.conf" ]; then
  systemd-tmpfiles --create "$package.conf" || true
fi
weftctl_offer 50
if [ "$1" -eq 1 ]; then
  systemctl --no-reload preset $units >/dev/null 2>&1 || true
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload >/dev/null || true
fi
