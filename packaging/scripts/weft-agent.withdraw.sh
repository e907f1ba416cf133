
# withdraw runs when the services have stopped and the files are still there. It
# gives the host its network back, whatever state the agent is in; what the host
# joined stays, so that the package can come back.
withdraw() {
  if [ -e /etc/weft/agent.yaml ]; then
    weft-agent stop >/dev/null 2>&1 || true # Envoy goes on without the agent
  fi
  if [ -d /run/systemd/system ]; then
    systemctl stop 'weft-envoy-*.scope' weft.slice >/dev/null 2>&1 || true
  fi
  weft-agent redirect remove --for-now >/dev/null ||
    echo "weft-agent: the redirection could not be taken off; nft delete table inet weft does by hand" >&2
  rm -rf /run/weft-agent
}
