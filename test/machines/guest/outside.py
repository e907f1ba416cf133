#!/usr/bin/env python3
"""A server outside of the mesh, which writes down from which port each caller
came and from which one he says that he called: they differ where a proxy is
between."""
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        said = self.rfile.readline().decode().strip()
        print(self.client_address[0], self.client_address[1], said, flush=True)
        self.wfile.write(b"ok\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


Server(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
