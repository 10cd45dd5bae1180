"""A proxy before an AWS endpoint, in which requests can come to harm."""

import http.client
import threading
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "date", "server", "transfer-encoding"}


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Proxy:
    """Answers each request with what `treat` gives for it: a reply, or None to break it off.

    `treat` is called with the operation's name, as boto3 spells it in `PutObject`, and with a
    function that carries the request out and gives the endpoint's reply.
    """

    def __init__(self, endpoint, treat):
        self._endpoint = endpoint
        self._treat = treat
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                with suppress(OSError):
                    super().handle_one_request()

            def do_POST(self):
                proxy._answer(self)

            do_GET = do_PUT = do_HEAD = do_POST  # noqa: N815 - the base class looks for them

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.environment = endpoint.environment | {"AWS_ENDPOINT_URL": self.url}

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        try:
            reply = self._treat(_operation(handler), lambda: self._forward(handler, body))
        except (OSError, http.client.HTTPException):
            reply = None  # the endpoint is down
        if reply is None:
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(reply.body)
        handler.close_connection = len(reply.body) != int(reply.headers.get("Content-Length", 0))

    def _forward(self, handler, body):
        connection = http.client.HTTPConnection(urlsplit(self._endpoint.url).netloc, timeout=30)
        with closing(connection):
            connection.request(handler.command, handler.path, body, dict(handler.headers))
            answer = connection.getresponse()
            data = answer.read()
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in HOP_BY_HOP}
        return Reply(answer.status, kept, data)


def _operation(handler):
    if target := handler.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2]
    if handler.command == "GET" and "list-type=2" in handler.path:
        return "ListObjectsV2"
    return f"{handler.command.capitalize()}Object"


def refusal(operation, status, code):
    """How the service of an operation says no."""
    if "Object" in operation:
        body, kind = f"<Error><Code>{code}</Code></Error>".encode(), "application/xml"
    else:
        body, kind = b'{"__type":"%s"}' % code.encode(), "application/x-amz-json-1.1"
    return Reply(status, {"Content-Type": kind, "Content-Length": str(len(body))}, body)
