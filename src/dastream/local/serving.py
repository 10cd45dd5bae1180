"""A threaded HTTP/1.1 server on loopback for one WSGI application."""

from __future__ import annotations

import io
import logging
import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import ThreadedWSGIServer
from werkzeug.test import run_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["Server"]

BODY_BYTES_MAX = 1 << 30
"""The longest request body: it is held in memory, and S3 objects here are far smaller."""

_LOOPBACK = ("127.0.0.1", "localhost")
_log = logging.getLogger(__name__)


class Server(ThreadedWSGIServer):
    """Serves `app` on 127.0.0.1. `port` 0 takes a free one. Raises OSError if it is taken.

    Each connection has a thread, and calls `app` in it. `server_close()` ends all connections
    and their threads.
    """

    def __init__(self, port: int, app: WSGIApplication) -> None:
        self._connections: dict[socket.socket, threading.Thread] = {}
        # Bound here, because werkzeug prints and exits where it cannot bind.
        with socket.create_server((_LOOPBACK[0], port), backlog=self.request_queue_size) as bound:
            super().__init__(_LOOPBACK[0], port, app, _Handler, fd=bound.fileno())

    def respond(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        """The application's status, headers and body for one request."""
        body, status, headers = run_wsgi_app(self.app, environ, buffered=True)
        return status, headers.to_wsgi_list(), b"".join(body)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._connections.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as inherited
        _log.debug("a connection to the local endpoint broke off", exc_info=False)

    def server_close(self) -> None:
        super().server_close()
        for connection, thread in list(self._connections.items()):
            with suppress(OSError):  # closed by the other side in the meantime
                # An idle connection reads its end; a request that is being handled is answered.
                connection.shutdown(socket.SHUT_RD)
            thread.join()


class _Handler(MotoRequestHandler):
    """Reads a whole request, has it handled, and keeps the connection for the next one."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # what does not fit into one write waits for no ACK
    # Head and body are sent at once: where the process is killed in between, boto3 takes the
    # head for a reply without members.
    wbufsize = 1 << 17

    def run_wsgi(self) -> None:
        """Called by http.server for each request, whatever its method."""
        environ = self.make_environ()
        if self._is_from_a_web_page():
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        # All of the body, before the application has it: a slow client holds up nobody.
        body = self._read_body(environ)
        if body is None:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            environ["wsgi.input"] = io.BytesIO(body)
            self._answer(environ)

    def handle_expect_100(self) -> bool:
        """Called by http.server for a client that waits to be asked for the body."""
        is_expected = super().handle_expect_100()
        self.wfile.flush()
        return is_expected

    def _is_from_a_web_page(self) -> bool:
        """Whether a browser may have sent it: no AWS client names an origin or another host."""
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        return "Origin" in self.headers or host not in _LOOPBACK

    def _read_body(self, environ: dict[str, Any]) -> bytes | None:
        """The whole body, or None if it is too long or of no sane length."""
        stream = environ["wsgi.input"]
        if "wsgi.input_terminated" in environ:  # it is chunked
            body = bytearray()
            while len(body) <= BODY_BYTES_MAX and (part := stream.read(1 << 16)):
                body += part
            return bytes(body) if len(body) <= BODY_BYTES_MAX else None
        length = self.headers.get("Content-Length") or "0"
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            return None
        whole: bytes = stream.read(int(length))
        if len(whole) < int(length):
            raise ConnectionError("the client left in the middle of a request")
        return whole

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True  # the body stays unread
        self._send(status, [("Connection", "close")], b"")

    def _answer(self, environ: dict[str, Any]) -> None:
        try:
            status, headers, body = cast("Server", self.server).respond(environ)
        except Exception as error:  # noqa: BLE001 - whatever a service raises is its reply
            # The type only: the text may quote the request.
            _log.warning("the local endpoint failed on a request: %s", type(error).__name__)
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, [], b"")
        else:
            self._send(HTTPStatus(int(status.split()[0])), headers, body)

    def _send(self, status: HTTPStatus, headers: list[tuple[str, str]], body: bytes) -> None:
        is_head = self.command == "HEAD"
        names = {name.lower() for name, _ in headers}
        self.send_response(status)
        for name, value in headers:
            # HEAD tells the length of a body that is not sent; otherwise we know it best.
            if name.lower() != "content-length" or is_head:
                self.send_header(name, value)
        if not (is_head and "content-length" in names):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not is_head:
            self.wfile.write(body)
        self.wfile.flush()

    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing: a request line per put would drown what matters."""
