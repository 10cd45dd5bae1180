"""The template read with CloudFormation's functions, and its permissions as a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

TEMPLATE = Path(__file__).parents[1] / "deploy" / "template.yaml"


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _short_form)


def load(path: Path = TEMPLATE) -> dict[str, Any]:
    """The template, with functions in their long form."""
    template: dict[str, Any] = yaml.load(path.read_text(), _Loader)  # noqa: S506 - a safe loader
    return template


def permissions() -> Iterator[str]:
    """Who may do what, on what, under which condition, and why."""
    yield "| who | statement | may | on | only if | why |\n|---|---|---|---|---|---|\n"
    for name, resource in load()["Resources"].items():
        for statement in _statements(resource):
            reason = resource["Metadata"]["Reasons"][statement["Sid"]]
            cells = (_who(name, statement), f"`{statement['Sid']}`", *_rule(statement), reason)
            yield f"| {' | '.join(cells)} |\n"


def _statements(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    properties = resource.get("Properties", {})
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", ())]
    if "PolicyDocument" in properties:
        documents.append(properties["PolicyDocument"])
    for document in documents:
        yield from document["Statement"]


def _who(name: str, statement: dict[str, Any]) -> str:
    principal = statement.get("Principal")
    if principal is None:
        return f"`{name}`"
    services = principal["Service"] if isinstance(principal, dict) else ["anybody"]
    return ", ".join(services)


def _rule(statement: dict[str, Any]) -> tuple[str, str, str]:
    may = "nothing of " if statement["Effect"] == "Deny" else ""
    return (
        may + _code(statement["Action"]),
        _code(statement["Resource"]),
        "<br>".join(_conditions(statement.get("Condition", {}))),
    )


def _conditions(conditions: dict[str, Any]) -> Iterator[str]:
    for keys in conditions.values():
        alternatives = keys["Fn::If"][1:] if "Fn::If" in keys else [keys]
        yield " or ".join(
            f"`{key}` is {_code(value)}" for one in alternatives for key, value in one.items()
        )


def _code(value: Any) -> str:
    if isinstance(value, list):
        return "<br>".join(_code(item) for item in value)
    if isinstance(value, dict):
        ((name, argument),) = value.items()
        if name == "Fn::If":
            return f"{_code(argument[1])} or {_code(argument[2])}"
        return f"`{argument}`" if name in ("Ref", "Fn::Sub") else f"`{'.'.join(argument)}`"
    return f"`{value}`"
