"""`deploy/template.yaml` as CloudFormation sees it: with parameters, conditions and functions."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy" / "template.yaml"
REGION, ACCOUNT = "us-east-1", "123456789012"

_PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::StackName": "activity",
    "AWS::URLSuffix": "amazonaws.com",
}


def _reader():
    spec = importlib.util.spec_from_file_location("cfn", ROOT / "docs" / "cloudformation.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


load = _reader().load


class Stack:
    """The template's resources for given parameters.

    `attributes` has what resources refer to of others, by `NAME` or `NAME.ATTRIBUTE`.
    """

    def __init__(self, parameters, attributes):
        self._template = load()
        defaults = {
            name: parameter.get("Default")
            for name, parameter in self._template["Parameters"].items()
        }
        assert parameters.keys() <= defaults.keys()
        self._parameters = _PSEUDO | defaults | parameters
        self._attributes = attributes

    @property
    def resources(self):
        """The resources that there are under these parameters, by their logical ids."""
        return {
            name: resource
            for name, resource in self._template["Resources"].items()
            if "Condition" not in resource or self._holds(resource["Condition"])
        }

    def properties(self, name):
        return self.resolve(self.resources[name]["Properties"])

    def statements(self, role):
        """The policy statements of a role."""
        return [
            statement
            for policy in self.properties(role)["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]

    def resolve(self, value):
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name.startswith("Fn::"):
                return self._function(name.removeprefix("Fn::"), argument)
        return {key: self.resolve(item) for key, item in value.items()}

    def _ref(self, name):
        return self._parameters[name] if name in self._parameters else self._attributes[name]

    def _function(self, name, argument):
        if name == "GetAtt":
            return self._attributes[".".join(argument)]
        if name == "If":
            return self.resolve(argument[1 if self._holds(argument[0]) else 2])
        if name == "Sub":
            return self._sub(argument)
        if name == "Select":
            return self.resolve(argument[1])[int(argument[0])]
        if name == "Split":
            return self.resolve(argument[1]).split(argument[0])
        raise NotImplementedError(name)

    def _sub(self, argument):
        text, names = argument if isinstance(argument, list) else (argument, {})

        def value(match):
            if match[1].startswith("!"):
                return f"${{{match[1][1:]}}}"
            if match[1] in names:
                return self.resolve(names[match[1]])
            return self._attributes[match[1]] if "." in match[1] else str(self._ref(match[1]))

        return re.sub(r"\$\{([^}]*)\}", value, text)

    def _holds(self, condition):
        return self._evaluate(self._template["Conditions"][condition])

    def _evaluate(self, condition):
        ((name, argument),) = condition.items()
        if name == "Fn::Not":
            return not self._evaluate(argument[0])
        one, other = map(self.resolve, argument)
        return one == other


def as_list(value):
    return value if isinstance(value, list) else [value]
