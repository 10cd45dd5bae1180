"""The template is valid for every tool that looks at one, and says what the code wants."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from template import TEMPLATE, load

from dastream.aws.metrics import _UNITS, NAMESPACE
from dastream.aws.stream_resource import Properties
from dastream.event import Columns
from dastream.settings import ENVIRONMENT_PREFIX, Settings

ROOT = TEMPLATE.parents[1]


def run(*command, **how):
    environment = os.environ | {
        "AWS_DEFAULT_REGION": "us-east-1",
        "SAM_CLI_TELEMETRY": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=110, **how
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_cfn_lint_has_no_word_to_say(tool):
    assert run(tool("cfn-lint"), cwd=ROOT) == ""


def test_sam_finds_it_valid(tool):
    run(tool("sam"), "validate", "--lint", cwd=ROOT / "deploy")


def test_sam_builds_it(tool, tmp_path):
    run(tool("sam"), "build", "--build-dir", str(tmp_path / "built"), cwd=ROOT / "deploy")

    for name in ("ActivityStreamFunction", "DeliveryFunction", "TransformFunction"):
        assert (tmp_path / "built" / name / "dastream" / "aws" / "kinesis.py").is_file()


def test_checkov_finds_nothing_but_what_has_a_reason(tool):
    options = ["--framework", "cloudformation", "--compact", "--quiet", "--skip-download"]
    run(tool("checkov"), "--directory", str(ROOT / "deploy"), *options)


def test_every_exception_has_its_reason():
    for resource in load()["Resources"].values():
        for skipped in resource.get("Metadata", {}).get("checkov", {}).get("skip", ()):
            assert skipped["comment"].endswith(".")


def test_there_are_no_aliases():
    """CloudFormation refuses them."""
    tokens = yaml.scan(TEMPLATE.read_text())
    assert not [t for t in tokens if isinstance(t, (yaml.AliasToken, yaml.AnchorToken))]


def test_custom_resource_is_given_the_properties_that_it_takes():
    given = load()["Resources"]["ActivityStream"]["Properties"].keys()
    taken = set(Properties.__struct_encode_fields__)

    assert given - {"ServiceToken", "ServiceTimeout"} == taken


def test_variables_are_settings():
    template = load()
    variables = dict(template["Globals"]["Function"]["Environment"]["Variables"])
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            environment = resource["Properties"].get("Environment", {})
            variables |= environment.get("Variables", {})

    known = {ENVIRONMENT_PREFIX + name.upper() for name in Settings.__struct_fields__}
    assert variables.keys() <= known


def test_functions_have_the_handlers_that_there_are():
    for resource in load()["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            module, _, name = resource["Properties"]["Handler"].rpartition(".")
            assert callable(getattr(importlib.import_module(module), name))


def test_view_has_the_columns_of_dastream_query():
    query = load()["Resources"]["EventsView"]["Properties"]["QueryString"]["Fn::Sub"]
    named = set(re.findall(r"\) AS \"?(\w+)", query))

    times = {"start_time", "end_time", "log_time"}
    ours = {"arrival_time", "engine", "instance_id"}
    assert times | ours < named
    assert named - times - ours <= set(Columns.__struct_fields__)


@pytest.mark.parametrize("template", ["template.yaml", "instance-alarm.yaml"])
def test_alarms_watch_metrics_that_there_are(template):
    for resource in load(ROOT / "deploy" / template)["Resources"].values():
        properties = resource.get("Properties", {})
        if properties.get("Namespace") == NAMESPACE:
            assert properties["MetricName"] in _UNITS
