
# forget removes what no package owns.
forget() { rm -rf /var/lib/weft-cp /run/weft-cp; }
