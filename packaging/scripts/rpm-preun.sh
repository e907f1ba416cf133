
if [ "$1" -eq 0 ]; then
  if [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now $units >/dev/null 2>&1 || true
  else
    systemctl --no-reload disable $units >/dev/null 2>&1 || true
  fi
  withdraw
  weftctl_withdraw
fi
