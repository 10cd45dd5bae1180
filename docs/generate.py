"""Writes the parts of the documentation that come from the code.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->` in a page. `--write` brings
all of them up to date; without it the pages that are not are listed, and the exit code is 1.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from cloudformation import permissions

from dastream import errors
from dastream.cli.app import app
from dastream.event import Columns
from dastream.format.engines import TABLES
from dastream.format.engines.table import Table
from dastream.line import Head
from dastream.settings import ENVIRONMENT_PREFIX, Settings

DOCS = Path(__file__).parent
CONTRACT = DOCS.parent / "tests" / "contract"
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def cli() -> Iterator[str]:
    """Each command's `--help`."""
    for path, command in _commands("dastream", app):
        with click.Context(command, info_name=path, max_content_width=96, terminal_width=96) as ctx:
            yield f"## {path}\n\n```text\n{command.get_help(ctx)}\n```\n"


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        with click.Context(command) as ctx:
            for name in command.list_commands(ctx):
                child = command.get_command(ctx, name)
                assert child is not None
                yield from _commands(f"{path} {name}", child)


def settings() -> Iterator[str]:
    """Each setting, its default and meaning."""
    yield "| variable | default | meaning |\n|---|---|---|\n"
    meanings = _attribute_docs(Settings)
    for field, default in zip(
        Settings.__struct_fields__, Settings.__struct_defaults__, strict=True
    ):
        shown = "" if default is None else f"`{default}`"
        yield f"| `{ENVIRONMENT_PREFIX}{field.upper()}` | {shown} | {meanings[field]} |\n"


TYPES = {
    "int | None": "integer",
    "str | None": "text",
    "bool | None": "boolean",
    "bool": "boolean, never null",
    "tuple[str | None, ...]": "list of text, never null",
    "tuple[str, ...]": "list of text, never null",
}
UNITS = {"us": "microseconds since 1970, UTC", "count": "rows"}


def columns() -> Iterator[str]:
    """Each column of an event."""
    yield "| column | type | unit | meaning |\n|---|---|---|---|\n"
    for name, meaning in _attribute_docs(Columns).items():
        unit = UNITS.get(name.rpartition("_")[2], "")
        yield f"| `{name}` | {TYPES[Columns.__annotations__[name]]} | {unit} | {meaning} |\n"


def origins() -> Iterator[str]:
    """What each column is made of, by engine; engines with one table share a heading."""
    engines: dict[Table, list[str]] = {}
    for engine, table in TABLES.items():
        engines.setdefault(table, []).append(f"`{engine}`")
    yield f"| column | {' | '.join(', '.join(names) for names in engines.values())} |\n"
    yield f"|---{'|---' * len(engines)}|\n"
    for name in Columns.__struct_fields__:
        if name != "misfits":
            yield f"| `{name}` | {' | '.join(_origin(table, name) for table in engines)} |\n"


def _origin(table: Table, column: str) -> str:
    for rule in table.rules:
        if rule.column == column:
            return rule.origin
    member = table.members.get(column)
    return f"`{member.name}`" if member and member.is_filled else ""


def line() -> Iterator[str]:
    """Each member of ours in a delivered line."""
    yield "| member | meaning |\n|---|---|\n"
    for name, meaning in _attribute_docs(Head).items():
        yield f"| `{name}` | {meaning} |\n"


def error_tree() -> Iterator[str]:
    """Each error with its behaviour."""
    yield "| error | kind of | meaning |\n|---|---|---|\n"
    for name in _tree_order(errors.DastreamError):
        error = getattr(errors, name)
        parent = error.__bases__[0].__name__
        yield f"| `{name}` | `{parent}` | {_paragraph(inspect.getdoc(error) or '')} |\n"


def _tree_order(error: type[Exception]) -> Iterator[str]:
    yield error.__name__
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree_order(child)


def differences() -> Iterator[str]:
    """What the peers of the contract suite do otherwise than AWS: the marks of its tests."""
    for peer, title in (("endpoint", "The local endpoint"), ("kinesalite", "kinesalite")):
        yield f"### {title}\n\n| as on AWS | here |\n|---|---|\n"
        for service, test, reason in _differences(peer):
            yield f"| {service}: {test} | {reason} |\n"
        yield "\n"


def _differences(peer: str) -> Iterator[tuple[str, str, str]]:
    for path in sorted(CONTRACT.glob("test_*.py")):
        tests = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
        for test in sorted(tests, key=lambda test: test.lineno):
            for mark in test.decorator_list:
                for keyword in mark.keywords if isinstance(mark, ast.Call) else ():
                    if keyword.arg == peer and isinstance(keyword.value, ast.Constant):
                        sentence = test.name.removeprefix("test_").replace("_", " ")
                        yield path.stem.removeprefix("test_"), sentence, str(keyword.value.value)


def _attribute_docs(cls: type) -> dict[str, str]:
    """The docstring below each attribute of a class, in order."""
    source = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(source, ast.ClassDef)
    docs: dict[str, str] = {}
    for statement, following in zip(source.body, source.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            assert isinstance(following, ast.Expr), f"{statement.target.id} has no docstring"
            assert isinstance(following.value, ast.Constant)
            docs[statement.target.id] = _paragraph(inspect.cleandoc(str(following.value.value)))
    return docs


def _paragraph(text: str) -> str:
    return " ".join(text.split("\n\n", maxsplit=1)[0].split()).replace("|", "\\|")


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "cli": cli,
    "settings": settings,
    "columns": columns,
    "origins": origins,
    "line": line,
    "errors": error_tree,
    "differences": differences,
    "permissions": permissions,
}


def renew(text: str) -> str:
    """A page with its generated parts as the code has them now."""
    return PART.sub(lambda m: f"{m[1]}\n{''.join(PARTS[m[2]]())}\n{m[3]}", text)


def main(*, write: bool) -> int:
    """Renew or compare all pages."""
    stale = [
        page for page in sorted(DOCS.rglob("*.md")) if renew(page.read_text()) != page.read_text()
    ]
    for page in stale:
        print(f"{'wrote' if write else 'not up to date'}: docs/{page.relative_to(DOCS)}")
        if write:
            page.write_text(renew(page.read_text()))
    return 1 if stale and not write else 0


if __name__ == "__main__":
    sys.exit(main(write="--write" in sys.argv[1:]))
