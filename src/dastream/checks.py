"""What `dastream check` looks at, one thing after the other."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Check", "Verdict"]

Verdict = Literal["ok", "weaker", "missing"]
"""`missing`: events would be lost, or not come at all. `weaker`: they come, but with less."""


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at: what was found, and how to mend it if it is not `ok`."""

    name: str
    verdict: Verdict
    found: str
    why: str | None = None
    fix: str | None = None
