import pytest

from dastream.clients import open_client
from dastream.errors import ConfigError

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_region_is_taken_from_the_environment(monkeypatch, variable):
    monkeypatch.setenv(variable, "eu-west-1")

    assert open_client("kms").meta.region_name == "eu-west-1"
    assert open_client("kms", region="us-east-2").meta.region_name == "us-east-2"


def test_endpoint_is_taken_from_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    assert open_client("kms").meta.endpoint_url == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_ENDPOINT_URL", "no url"),
        ("AWS_PROFILE", "no-such-profile"),
        ("AWS_REGION", "no region"),
        ("AWS_REGION", ""),
    ],
)
def test_unusable_environment_is_a_config_error(monkeypatch, variable, value):
    if variable != "AWS_REGION":
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigError, match="no client for kms") as caught:
        open_client("kms")

    assert caught.value.hint
