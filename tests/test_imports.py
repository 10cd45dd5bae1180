"""The rooms: what is loaded when, and which imports there may be."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import dastream

PACKAGE = Path(dastream.__file__).parent

ROWS = (
    {
        "errors",
        "surrogates",
        "record",
        "event",
        "line",
        "dead_letter",
        "notice",
        "watch",
        "checks",
        "settings",
        "clients",
    },
    {"format"},
    {"key_cache"},
    {"keys"},
    {"decode", "transforms", "detect"},
    {"storage", "checkpoint"},
    {"sources", "sinks"},
    {"holdings", "refusals"},
    {"delivery", "resumption", "lanes"},
    {"beginning", "workers"},
    {"pipeline", "lake", "testing"},
    {"activity", "aws"},
    {"local"},
    {"cli", "web", "spark"},
    {"__main__"},
)
ROW_OF = {room: number for number, row in enumerate(ROWS) for room in row}


def loaded_by(statement):
    """The modules that a new interpreter has loaded after a statement, by their full names."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return set(json.loads(done.stdout))


def below(modules, *names):
    """Which of the modules are one of the named ones, or lie in one."""
    return {module for module in modules for name in names if f"{module}.".startswith(f"{name}.")}


def test_import_of_the_package_is_light():
    modules = loaded_by("import dastream")

    assert not below(
        modules, "boto3", "botocore", "click", "rich", "moto", "flask", "werkzeug", "psycopg"
    )
    assert not below(modules, "aws_encryption_sdk", "sqlite3", "http", "asyncio", "duckdb")
    assert not below(modules, "pyarrow", "fsspec")
    assert not below(modules, "dastream.sources", "dastream.sinks", "dastream.storage")


def test_import_of_the_firehose_handler_is_light():
    modules = loaded_by("import dastream.aws.firehose")

    assert not below(modules, "boto3", "botocore", "click", "rich", "moto", "aws_encryption_sdk")
    rooms = ("lake", "local", "cli", "activity", "sources", "sinks", "storage", "pipeline", "web")
    assert not below(modules, *(f"dastream.{room}" for room in rooms))


def test_import_of_the_kinesis_handler_is_light():
    modules = loaded_by("import dastream.aws.kinesis, dastream.sinks.lake")

    assert not below(modules, "boto3", "botocore", "click", "rich", "moto", "aws_encryption_sdk")
    assert not below(modules, "sqlite3", "pyarrow", "duckdb")
    rooms = ("lake", "local", "cli", "activity", "pipeline", "web", "checkpoint")
    assert not below(modules, *(f"dastream.{room}" for room in rooms))


def test_search_and_json_lines_need_no_parquet():
    modules = loaded_by("import dastream.cli.search, dastream.cli.query, dastream.sinks.lake")

    assert not below(modules, "duckdb", "pyarrow", "fsspec", "boto3")


def test_program_starts_without_loading_its_commands():
    modules = loaded_by("import dastream.cli.app")

    assert not below(modules, "boto3", "botocore", "rich", "moto", "dastream.local")


def room_of(module):
    """`dastream.format.engines.values` lies in the room `format`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def module_name(file):
    parts = ("dastream", *file.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file):
    """The modules of dastream that a file imports anywhere, and those of `from` with a name."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_room(name):
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()


def rooms_imported(file):
    """The rooms that a file imports from; names of the package itself belong to no room."""
    names = (room_of(name) for name in imported(file) if f"{name}.".startswith("dastream."))
    return {name for name in names if name is not None and is_room(name)}


def is_allowed(room, other):
    if room == other:
        return True
    return ROW_OF[other] < ROW_OF[room] or ROW_OF[other] == ROW_OF[room] == 0


FILES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_module_imports_only_from_rows_above_its_own(file):
    room = room_of(module_name(file))
    assert room in ROW_OF, f"{room} has no row: give it one here and in the design"

    assert {other for other in rooms_imported(file) if not is_allowed(room, other)} == set()


def test_imports_are_seen_at_all():
    assert rooms_imported(PACKAGE / "decode.py") == {
        "errors",
        "event",
        "format",
        "keys",
        "record",
        "settings",
    }
    assert not is_allowed("format", "keys")
    assert not is_allowed("sources", "sinks")
    assert is_allowed("event", "record")
