#!/usr/bin/env python3
"""A workload of the first moment: calls HOST:PORT from when it is started, for
half a minute or until it was let through, and writes down what became of it, and
from which port each call was made."""
import errno
import json
import socket
import sys
import time

host, port, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
seen = []
end = time.monotonic() + 30
while time.monotonic() < end:
    s = socket.socket()
    s.settimeout(5)
    s.bind(("", 0))
    try:
        s.connect((host, port))
        s.sendall(b"%d\n" % s.getsockname()[1])
        s.recv(10)
        what = "through"
    except OSError as e:
        what = errno.errorcode.get(e.errno, str(e))
    if what not in ("ENETUNREACH", "EHOSTUNREACH"):
        seen.append([what, s.getsockname()[1]])
    s.close()
    with open(out + ".new", "w") as f:
        json.dump(seen, f)
    if what == "through":
        break
    time.sleep(0.02)
import os

os.rename(out + ".new", out)
