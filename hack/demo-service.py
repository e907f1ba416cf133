"""A small HTTP service that tells who called it, for the demo. It knows nothing of the mesh."""
import http.server
import re
import sys


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        cert = self.headers.get("x-forwarded-client-cert", "")
        who = re.search(r"spiffe://[^;,]+", cert.split("URI=", 1)[-1])
        body = f"{sys.argv[1]} was called by {who.group(0) if who else 'nobody it knows'}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Service).serve_forever()
