#!/usr/bin/env python3
"""A service that knows nothing of the mesh: it says its machine's name."""
import http.server
import socket


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        caller = self.headers.get("x-forwarded-client-cert", "nobody")
        body = f"{socket.gethostname()} called by {caller}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
