"""The documentation says what the code does: commands, settings, columns, errors, links."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dastream
from dastream import errors
from dastream.cli.app import COMMANDS
from dastream.settings import ENVIRONMENT_PREFIX, Settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def text(name):
    return (ROOT / name).read_text()


def test_generated_parts_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run `make docs`: {done.stdout}{done.stderr}"


def test_every_command_stands_in_the_reference_with_examples():
    page = text("docs/cli.md")
    for command in COMMANDS:
        section = page.split(f"## dastream {command}\n")[1].split("\n## ")[0]
        assert "Examples:" in section, command


def test_every_option_has_help():
    from dastream.cli.app import app

    def check(command):
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.help, f"{command.name} {parameter.opts}"
        for child in getattr(command, "commands", {}).values():
            check(child)

    for name in COMMANDS:
        check(app.get_command(None, name))


def test_every_setting_is_documented():
    page = text("docs/settings.md")
    for field in Settings.__struct_fields__:
        assert f"`{ENVIRONMENT_PREFIX}{field.upper()}`" in page


def test_every_variable_that_the_documentation_names_exists():
    known = {ENVIRONMENT_PREFIX + field.upper() for field in Settings.__struct_fields__}
    known |= {"DASTREAM_STREAM", "DASTREAM_REQUIRE_ALL"}
    for page in PAGES:
        named = set(re.findall(r"\bDASTREAM_[A-Z_]+[A-Z]\b", page.read_text()))
        assert named <= known, page.name


def test_every_error_is_documented_and_drawn_in_the_tree():
    page = text("docs/errors.md")
    for name in errors.__all__:
        assert f"`{name}`" in page
        assert name in errors.__doc__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_module_has_a_docstring_and_stands_in_the_architecture():
    architecture = text("ARCHITECTURE.md")
    for path in sorted((ROOT / "src" / "dastream").rglob("*.py")):
        assert path.read_text().startswith(('"""', 'r"""')), path
    for room in sorted((ROOT / "src" / "dastream").iterdir()):
        name = room.stem
        if not name.startswith("__") and name != "py":
            assert f"`{name}" in architecture, name


def test_the_version_stands_in_one_place():
    found = [
        path
        for path in (ROOT / "pyproject.toml", *(ROOT / "src").rglob("*.py"))
        if dastream.__version__ in path.read_text()
    ]
    assert found == [ROOT / "src" / "dastream" / "__init__.py"]


def test_costs_are_computed_from_the_measured_table():
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "cost.py"],
        capture_output=True,
        check=True,
        text=True,
    )

    assert done.stdout.strip() in text("docs/cost.md")
