"""What a client sent, against the text that pgaudit logs of a statement in it."""

from __future__ import annotations

from dastream.activity.log_rows import CUT
from dastream.activity.redact import MASK
from dastream.activity.sql import statement_texts

__all__ = ["QueryString"]

_CUT_BY_PGAUDIT = f" {MASK}"
_AROUND = "; \t\r\n"
_CUT_CHARS_MIN = 100_000  # far below where the log is cut, far above what is alike by chance


class QueryString:
    """The text of the server's own row: one statement, or several with semicolons.

    pgaudit up to 16 logs the whole text for each of its statements. From 17 on it logs the
    statement alone, from 18 on without the comments before it. After a password it cuts, in all.
    """

    __slots__ = ("_split", "text")

    def __init__(self, text: str | None) -> None:
        self.text = text or ""
        self._split: list[str] | None = None

    def holds(self, audited: str) -> bool:
        """Whether a row of pgaudit is about a statement of the client, and not one inside it."""
        if not self.text:
            return False
        if audited == self.text or audited == self.text.rstrip(_AROUND):
            return True
        if CUT in (audited[-len(CUT) :], self.text[-len(CUT) :]) and _begin_alike(
            audited, self.text
        ):
            return True
        if audited.endswith(_CUT_BY_PGAUDIT):
            start = audited.removesuffix(_CUT_BY_PGAUDIT)
            return self.text.startswith(start) or any(one.startswith(start) for one in self._texts)
        # The server's row has the name of a prepared statement before the text, and a name may
        # hold the ": " that ends it.
        return any(one == audited or one.endswith(f": {audited}") for one in self._texts)

    def is_only(self, audited: str) -> bool:
        """Whether the text is that one statement, and comments or semicolons around it."""
        if audited == self.text:
            return False
        if audited == self.text.rstrip(_AROUND) and ";" not in audited:
            return True
        return audited in self._texts and self.count == 1

    @property
    def count(self) -> int:
        """How many statements the text has."""
        return len(self._texts) // 2

    @property
    def _texts(self) -> list[str]:
        if self._split is None:
            self._split = [text for both in statement_texts(self.text) for text in both]
        return self._split


def _begin_alike(one: str, other: str) -> bool:
    """Whether one of two long texts, of which one has been cut, is the beginning of the other."""
    shorter, longer = sorted((one.removesuffix(CUT), other.removesuffix(CUT)), key=len)
    return len(shorter) >= _CUT_CHARS_MIN and longer.startswith(shorter)
