"""Builds what the Lambda functions run: dastream and its libraries, for one architecture.

The libraries are the wheels pinned by hash in a requirements file, so the same commit gives the
same bytes everywhere. `--zip` writes an archive, `--into` a directory, as `sam build` wants it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

DEPLOY = Path(__file__).parent
PACKAGE = DEPLOY.parent / "src" / "dastream"
PLATFORMS = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}
PYTHON_VERSION = "3.13"

LEFT_OUT = ("activity", "cli", "lake", "local", "testing.py", "__main__.py", "__pycache__")
"""What no handler loads."""

INSTALLER_FILES = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json")
"""What tells of the installation, not of the library."""

TIME = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip archive can tell."""


def build(
    directory: Path, architecture: str, requirements: Path, python_version: str = PYTHON_VERSION
) -> None:
    """Fill a new directory with everything that goes to Lambda."""
    command = [_uv(), "pip", "install", "--quiet", "--no-config", "--target", str(directory)]
    command += ["--python-platform", PLATFORMS[architecture], "--python-version", python_version]
    command += ["--only-binary", ":all:", "--require-hashes", "--no-deps"]
    subprocess.run([*command, "--requirement", str(requirements)], check=True)
    for path in [*directory.rglob("*.dist-info/*")]:
        if path.name in INSTALLER_FILES:
            path.unlink()
    for leftover in (directory / "bin", directory / ".lock"):
        shutil.rmtree(leftover, ignore_errors=True)
        leftover.unlink(missing_ok=True)
    shutil.copytree(PACKAGE, directory / "dastream", ignore=shutil.ignore_patterns(*LEFT_OUT))


def _uv() -> str:
    """The program of this environment, or of the machine."""
    beside = Path(sys.executable).parent
    return shutil.which("uv", path=f"{beside}:{os.environ['PATH']}") or "uv"


def pack(directory: Path, archive: Path) -> None:
    """Write a directory as a zip archive: sorted, and without times and owners."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as written:
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            member = zipfile.ZipInfo(path.relative_to(directory).as_posix(), TIME)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o100644 << 16
            written.writestr(member, path.read_bytes())


def main(arguments: list[str]) -> int:
    """Build as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--architecture", choices=PLATFORMS, default="arm64")
    parser.add_argument("--fast", action="store_true", help="with the accelerators (extra fast)")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--zip", type=Path, metavar="FILE")
    place.add_argument("--into", type=Path, metavar="DIRECTORY")
    given = parser.parse_args(arguments)
    requirements = DEPLOY / ("requirements-fast.txt" if given.fast else "requirements.txt")
    if given.into:
        build(given.into, given.architecture, requirements)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        build(Path(temporary), given.architecture, requirements)
        pack(Path(temporary), given.zip)
        unzipped = sum(path.stat().st_size for path in Path(temporary).rglob("*") if path.is_file())
    print(f"{given.zip}: {unzipped / 1e6:.1f} MB unzipped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
