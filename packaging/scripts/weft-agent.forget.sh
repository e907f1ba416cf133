
# forget removes what no package owns.
forget() {
  rm -rf /var/lib/weft-agent /run/weft-agent
  rm -f /etc/weft/agent.yaml
}
