"""``python receiver.py PORT FILE``: takes what is told by HTTP and writes a line of JSON for each request."""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._note(json.loads(body)["text"])

    def do_GET(self) -> None:
        self._note("")

    def _note(self, text: str) -> None:
        with open(sys.argv[2], "a", encoding="utf-8") as file:
            file.write(json.dumps({"at": time.time(), "path": self.path, "text": text}) + "\n")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
