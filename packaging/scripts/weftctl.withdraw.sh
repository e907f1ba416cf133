
weftctl_withdraw() {
  update-alternatives --remove weftctl "/usr/lib/$package/weftctl/weftctl" >/dev/null
}
