
# Both packages bring weftctl, so that one file is all that a machine needs; the
# alternatives say whose is used where both are there.
weftctl_offer() {
  dir=/usr/lib/$package/weftctl
  set -- --install /usr/bin/weftctl weftctl "$dir/weftctl" "$1" \
    --slave /usr/share/bash-completion/completions/weftctl weftctl.bash "$dir/bash" \
    --slave /usr/share/fish/vendor_completions.d/weftctl.fish weftctl.fish "$dir/fish" \
    --slave /usr/share/zsh/vendor-completions/_weftctl weftctl.zsh "$dir/zsh"
  for page in "$dir"/man/*.1.gz; do
    name=$(basename "$page")
    set -- "$@" --slave "/usr/share/man/man1/$name" "$name" "$page"
  done
  update-alternatives "$@" >/dev/null
}
