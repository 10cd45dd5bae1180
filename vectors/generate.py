"""Writes the vectors anew: `python -m vectors.generate`. Same code, same files."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from vectors.cases import Case, cases

__all__ = ["DIRECTORY", "files"]

DIRECTORY = Path(__file__).parent / "records"


def files() -> dict[str, str]:
    """The text of each file by its name."""
    return {f"{case.name}.json": _text(case) for case in cases()}


def _text(case: Case) -> str:
    members = {
        "expect": case.expect,
        "why": case.why,
        "record": _base64(case.record),
        "dataKeys": {_base64(key): _base64(data_key) for key, data_key in case.data_keys.items()},
    }
    if case.expect == "success":
        members["events"] = [{"id": id, "entry": entry} for id, entry in case.events]
    return json.dumps(members, indent=1, ensure_ascii=False) + "\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    """Replace all files."""
    DIRECTORY.mkdir(exist_ok=True)
    for path in DIRECTORY.glob("*.json"):
        path.unlink()
    for name, text in files().items():
        (DIRECTORY / name).write_text(text)


if __name__ == "__main__":
    main()
