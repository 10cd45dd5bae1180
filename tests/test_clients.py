from datetime import UTC, datetime, timedelta

import botocore.session
import pytest
from botocore.credentials import RefreshableCredentials

from dastream.clients import CallError, call, open_client, session
from dastream.errors import ConfigError, ServiceError
from dastream.sources.kinesis import KinesisSource
from dastream.storage import S3Storage

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
    session.cache_clear()  # as in a process of its own

    with pytest.raises(ConfigError, match="no client for kms") as caught:
        open_client("kms")

    assert caught.value.hint


def client_whose_role_gives(renewed):
    """A client with an instance's credentials that are to be renewed now."""
    core = botocore.session.get_session()
    expired = datetime.now(UTC) - timedelta(seconds=1)
    core._credentials = RefreshableCredentials("a", "b", "c", expired, lambda: renewed, "iam-role")
    return core.create_client("kms", "eu-west-1", endpoint_url="http://127.0.0.1:9")


def test_credentials_that_cannot_be_renewed_now_are_a_failure_of_the_outside():
    with pytest.raises(CallError, match="CredentialRetrievalError"):
        call(client_whose_role_gives(None).list_keys)


def test_credentials_that_nobody_gave_are_a_config_error(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")

    with pytest.raises(ConfigError, match="no credentials"):
        call(open_client("kms").list_keys)


@pytest.mark.parametrize("look", ["kinesis", "s3"])
def test_hint_of_a_service_that_is_not_reached_is_about_the_way_to_it(monkeypatch, look):
    """Permissions are the usual cause of an error, and not of this one."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    client = open_client(look, attempts_max=1)
    looks = {
        "kinesis": lambda: KinesisSource(client, "s").describe(),
        "s3": lambda: S3Storage(client, "bucket", "").get("key", 1),
    }

    with pytest.raises(ServiceError, match="EndpointConnectionError") as caught:
        looks[look]()

    assert "VPC endpoint" in caught.value.hint
    assert "role" not in caught.value.hint
