"""Kinesis peers whose clocks go forward when they are told to: ours, and kinesalite."""

import subprocess
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import boto3
from botocore.config import Config

from dastream.local.kinesis import Kinesis
from dastream.local.serving import Server
from outside import installed, run

KINESALITE = "3.3.3"
SERVE = """
let ahead = 0; const now = Date.now; Date.now = () => now() + ahead
process.stdin.on('data', ms => { ahead += Number(ms); console.log('ok') })
require('kinesalite')({createStreamMs: 5, deleteStreamMs: 5, updateStreamMs: 5, shardLimit: 500})
  .listen(0, '127.0.0.1', function() { console.log(this.address().port) })
"""


class Peer:
    """A client of a Kinesis, and `go_on(seconds)`, which lets time pass there."""

    def __init__(self, url, go_on):
        self._go_on = go_on
        self._ahead = timedelta()
        self.kinesis = boto3.client(
            "kinesis",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(proxies={}, read_timeout=3, retries={"total_max_attempts": 1}),
        )
        self.kinesis.meta.events.register("after-call.kinesis", self._date)

    def go_on(self, seconds):
        self._go_on(seconds)
        self._ahead += timedelta(seconds=seconds)

    def seconds(self):
        """A clock to read it by, for which as much time passes."""
        return time.monotonic() + self._ahead.total_seconds()

    def _date(self, parsed, **_):
        """The header comes from the HTTP server, which knows the real time only."""
        date = format_datetime(datetime.now(UTC) + self._ahead, usegmt=True)
        parsed["ResponseMetadata"]["HTTPHeaders"]["date"] = date


@contextmanager
def ours(throttle=None):
    """The Kinesis of the local endpoint, over HTTP."""
    ahead_ms = 0

    def go_on(seconds):
        nonlocal ahead_ms
        ahead_ms += seconds * 1000

    def now_ms():
        return time.time_ns() // 1_000_000 + ahead_ms

    kinesis = Kinesis(account="123456789012", region="us-east-1", now_ms=now_ms, throttle=throttle)
    server = Server(0, kinesis)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    peer = Peer(f"http://127.0.0.1:{server.port}", go_on)
    yield peer
    peer.kinesis.close()
    server.shutdown()
    thread.join()
    kinesis.close()


@contextmanager
def kinesalite():
    """Another project's, in a process of its own."""
    home = installed(f"kinesalite-{KINESALITE}", _install, needs=("node", "npm"))
    with subprocess.Popen(
        ["node", "-e", SERVE], cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:

        def go_on(seconds):
            server.stdin.write(str(seconds * 1000))
            server.stdin.flush()
            assert server.stdout.readline() == "ok\n"

        peer = Peer(f"http://127.0.0.1:{server.stdout.readline().strip()}", go_on)
        yield peer
        peer.kinesis.close()
        server.terminate()


def _install(home):
    options = ("--prefix", home, "--ignore-scripts", "--no-audit", "--no-fund")
    run("npm", "install", *options, f"kinesalite@{KINESALITE}", cwd=home)
