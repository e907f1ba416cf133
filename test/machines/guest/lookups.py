#!/usr/bin/env python3
"""Asks this machine's name server where NAME is until SIGTERM, in turn by UDP and
TCP, each time from a new socket, once and never again, and then says what came of
it: {"answered": 1234, "udp TimeoutError timed out": 1}."""
import collections
import json
import signal
import socket
import struct
import sys
import threading

name = sys.argv[1]
with open("/etc/resolv.conf") as f:
    server = next(line.split()[1] for line in f if line.startswith("nameserver"))
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
results = collections.Counter()
question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + struct.pack("!HH", 1, 1)


def ask(kind, number):
    query = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + question
    with socket.socket(socket.AF_INET, kind) as s:
        s.settimeout(120)
        s.connect((server, 53))
        if kind == socket.SOCK_DGRAM:
            s.send(query)
            answer = s.recv(4096)
        else:
            s.sendall(struct.pack("!H", len(query)) + query)
            with s.makefile("rb") as f:
                answer = f.read(struct.unpack("!H", f.read(2))[0])
    got, flags, _, answers = struct.unpack("!HHHH", answer[:8])
    return "answered" if got == number and flags & 15 == 0 and answers > 0 else f"code {flags & 15}, {answers} answers"


number = 0
while not stop.is_set():
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        number = (number + 1) % 65536
        try:
            result = ask(kind, number)
        except (OSError, struct.error) as e:
            result = f"{kind.name} {type(e).__name__} {e}"
        results[result] += 1
    if number == 2:
        print("started", flush=True)
    stop.wait(0.02)
print(json.dumps(results), flush=True)
