"""The documentation says what the code does: commands, settings, columns, errors, links."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
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
    known |= {"DASTREAM_STREAM", "DASTREAM_REQUIRE_ALL", "DASTREAM_SEED"}
    for page in PAGES:
        named = set(re.findall(r"\bDASTREAM_[A-Z_]+[A-Z]\b", page.read_text()))
        assert named <= known, page.name


def test_every_error_is_documented_and_drawn_in_the_tree():
    page = text("docs/errors.md")
    for name in errors.__all__:
        assert f"`{name}`" in page
        assert name in errors.__doc__


def test_every_error_has_its_section_in_the_runbook():
    sections = re.findall(r"^## (\w+Error)$", text("docs/runbook.md"), re.MULTILINE)

    assert sections == list(tree_order(errors.DastreamError))


def tree_order(error):
    yield error.__name__
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree_order(child)


def test_every_message_in_the_runbook_is_one_that_the_code_has():
    """Between the places that vary (`…`, a figure, what stands in brackets), word by word."""
    code = source_texts()
    rows = re.findall(r"^\| (`.*?`) \| ", text("docs/runbook.md"), re.MULTILINE)
    messages = [message for row in rows for message in re.findall(r"`(.*?)`", row)]
    assert len(messages) > 40
    for message in messages:
        for part in re.split(r"…|\d+|\(.*?\)|(?<=: cannot ).*|(?<=kms decrypt: ).*", message):
            assert part.strip() in code, message


def source_texts():
    """All string literals of the package, those of one f-string as they follow each other."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / "src" / "dastream").rglob("*.py"))
    constants = (n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Constant))
    return "\n".join(node.value for node in constants if isinstance(node.value, str))


def test_every_metric_is_explained():
    """In the words of the run itself: the members of its JSON line."""
    page = text("docs/running.md").split("## Metrics")[1].split("## Lag")[0]
    progress = text("src/dastream/cli/progress.py")
    members = re.findall(r'^ {12}"(\w+)": ', progress, re.MULTILINE)
    assert "records" in members
    for member in members:
        assert f"`{member}`" in page, member


def test_options_of_the_unit_file_exist():
    from dastream.cli.app import app

    unit = text("docs/running.md").split("ExecStart=")[1].split("Environment=")[0]
    _program, name, *options = shlex.split(unit.replace("\\\n", " "))
    command = app.get_command(None, name)

    assert command.make_context(name, options).params["sink_urls"] == ("s3://my-bucket/activity",)


def test_extras_that_are_named_exist():
    extras = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]
    for page in PAGES:
        for named in re.findall(r"(?:\.|/src|dastream)\[([a-z,]+)\]", page.read_text()):
            assert set(named.split(",")) <= extras.keys(), page.name


def test_dastream_is_installed_from_a_checkout():
    """As the README says: no index of packages has it."""
    for page in PAGES:
        assert not re.search(r"pip install\S* '?dastream", page.read_text()), page.name


def test_every_error_that_ends_emit_is_in_the_runbook():
    section = text("docs/runbook.md").split("## `dastream emit`")[1].split("\n## ")[0]
    names = ("emitter", "journal", "log_files", "log_time", "publisher")
    modules = [*(f"activity/{name}" for name in names), "cli/emit"]
    trees = [ast.parse(text(f"src/dastream/{module}.py")) for module in modules]
    messages = [message for tree in trees for message in raised(tree, "ConfigError", "SourceError")]
    assert len(messages) > 8
    for message in messages:
        assert message in section


def raised(tree, *kinds):
    """How the messages of some errors begin, as far as they do not vary."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) in kinds:
            yield ast.unparse(call.args[0]).removeprefix("f").strip("'\"").partition("{")[0].strip()


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
