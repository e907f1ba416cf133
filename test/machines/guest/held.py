#!/usr/bin/env python3
"""Calls URL again and again on one connection that it never opens anew, until
SIGTERM, and says how often it was answered, or what ended the connection."""
import http.client
import signal
import sys
import threading
import urllib.parse

url = urllib.parse.urlsplit(sys.argv[1])
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
conn = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=120)
conn.connect()
sock, answers, end = conn.sock, 0, ""
while not end:
    try:
        conn.request("GET", "/")
        response = conn.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as e:
        end = f"ended by {type(e).__name__} {e}"
        break
    if response.status != 200 or response.will_close or conn.sock is not sock:
        end = f"ended by status {response.status}, Connection: {response.headers.get('connection')}"
        break
    answers += 1
    if answers == 1:
        print("started", flush=True)
    if stop.wait(0.2):
        end = "held"
print(end, "after", answers, flush=True)
