"""kinesalite, another project's Kinesis for tests, from npm."""

import subprocess
from contextlib import contextmanager

from outside import installed, run

VERSION = "3.3.3"
SERVE = """
require('kinesalite')({createStreamMs: 5, deleteStreamMs: 5, updateStreamMs: 5, shardLimit: 500})
  .listen(0, '127.0.0.1', function() { console.log(this.address().port) })
"""


@contextmanager
def serving():
    """Its URL. Skips the test where it cannot be had."""
    home = installed(f"kinesalite-{VERSION}", _install, needs=("node", "npm"))
    with subprocess.Popen(
        ["node", "-e", SERVE], cwd=home, stdout=subprocess.PIPE, text=True
    ) as server:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.terminate()


def _install(home):
    options = ("--prefix", home, "--ignore-scripts", "--no-audit", "--no-fund")
    run("npm", "install", *options, f"kinesalite@{VERSION}", cwd=home)
