
# An upgrade restarts the service when the new one is there, and stops nothing.
if [ "$1" = remove ] || [ "$1" = deconfigure ]; then
  if [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop $units >/dev/null || true
  fi
  withdraw
  weftctl_withdraw
fi
