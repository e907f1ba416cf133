
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload >/dev/null || true
  if [ "$1" -ge 1 ]; then
    systemctl try-restart "$start" >/dev/null 2>&1 || true
  fi
fi
