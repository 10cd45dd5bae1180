import gzip
import subprocess
import sys

import pytest

from dastream.sinks import jsonl

RECEIPT = jsonl.Receipt(
    start="after-0", through="9", records=9, digest="d", events=1000, dropped={}, dead_letters=0
)
LINES = [b'{"eventId":"%d","commandText":"SELECT %d"}\n' % (n, n * n) for n in range(1000)]
PACK = """
import sys
sys.modules["zlib_ng"] = None
sys.path[:0] = {path}
from dastream.sinks import jsonl
from test_jsonl import LINES, RECEIPT
assert jsonl.zlib.__name__ == "zlib"
sys.stdout.buffer.write(jsonl.pack(LINES, RECEIPT))
"""


@pytest.fixture(params=["what is installed", "the standard library"])
def packed(request):
    """The same lines, compressed by either library."""
    if request.param == "what is installed":
        return jsonl.pack(LINES, RECEIPT)
    code = PACK.format(path=sys.path)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout


def test_every_gunzip_gives_the_lines(packed):
    assert gzip.decompress(packed) == b"".join(LINES)


def test_receipt_is_in_the_first_bytes(packed):
    assert jsonl.receipt(packed[: jsonl.RECEIPT_BYTES_MAX]) == RECEIPT


def test_same_lines_give_the_same_bytes_however_they_come():
    assert jsonl.pack(iter(LINES), RECEIPT) == jsonl.pack([b"".join(LINES)], RECEIPT)


def test_no_lines_are_an_empty_text():
    assert gzip.decompress(jsonl.pack([], RECEIPT)) == b""


def test_library_of_the_extra_is_the_one_that_compresses():
    assert jsonl.zlib.__name__ == "zlib_ng.zlib_ng"
