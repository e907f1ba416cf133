#!/usr/bin/env python3
"""Calls URL until SIGTERM, with PAUSE seconds after each answer, on one connection that stays and on a new one each
time, and then says what came back: {"200": 1234, "error text": 1}."""
import collections
import http.client
import json
import signal
import sys
import threading
import time
import urllib.parse

url, pause = urllib.parse.urlsplit(sys.argv[1]), float(sys.argv[2])
stop = threading.Event()
answers = collections.Counter()
lock = threading.Lock()
signal.signal(signal.SIGTERM, lambda *_: stop.set())


def once(conn):
    conn.request("GET", "/")
    response = conn.getresponse()
    response.read()
    return str(response.status), response.will_close


def call(stays):
    conn = None
    while not stop.is_set():
        fresh = conn is None
        if fresh:
            conn = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=30)
        try:
            got, ends = once(conn)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as e:
            conn.close()
            conn = None
            if stays and not fresh:
                continue  # a kept connection that had ended: every client calls again
            got, ends = f"{type(e).__name__} {e}", False
        except OSError as e:
            got, ends = f"{type(e).__name__} {e}", True
        with lock:
            answers[got] += 1
        if conn and (ends or not stays):
            conn.close()
            conn = None
        time.sleep(pause)


threads = [threading.Thread(target=call, args=(stays,)) for stays in (True, False)]
for t in threads:
    t.start()
print("started", flush=True)
stop.wait(3600)
stop.set()
for t in threads:
    t.join()
print(json.dumps(answers), flush=True)
