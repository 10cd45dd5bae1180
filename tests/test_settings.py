import pytest

from dastream.errors import ConfigError
from dastream.format.limits import Limits
from dastream.settings import Settings


def test_nothing_given_are_the_defaults():
    assert Settings.from_environment({}) == Settings()


def test_variables_are_the_names_in_capitals():
    environment = {
        "DASTREAM_RESOURCE_ID": "cluster-ABC",
        "DASTREAM_SINK": "s3://bucket/lake",
        "DASTREAM_TRANSFORMS": "heartbeats",
        "DASTREAM_KMS_KEY_ID": "alias/activity",
        "DASTREAM_KEY_CACHE_KEYS_MAX": "7",
        "DASTREAM_KEY_CACHE_AGE_SECONDS_MAX": "1.5",
        "DASTREAM_ENVELOPE_BYTES_MAX": "2000",
        "DASTREAM_MORE_BYTES_MAX": "6",
        "DASTREAM_ENCRYPTED_KEYS_MAX": "3",
        "DASTREAM_PAYLOAD_BYTES_MAX": "1000",
        "DASTREAM_VALUES_MAX": "5",
        "DASTREAM_ENTRIES_MAX": "4",
    }

    assert Settings.from_environment(environment) == Settings(
        resource_id="cluster-ABC",
        sink="s3://bucket/lake",
        transforms="heartbeats",
        kms_key_id="alias/activity",
        key_cache_keys_max=7,
        key_cache_age_seconds_max=1.5,
        envelope_bytes_max=2000,
        more_bytes_max=6,
        encrypted_keys_max=3,
        payload_bytes_max=1000,
        values_max=5,
        entries_max=4,
    )
    assert {name.removeprefix("DASTREAM_").lower() for name in environment} == set(
        Settings.__struct_fields__
    )


def test_what_is_given_goes_before_the_environment():
    environment = {"DASTREAM_RESOURCE_ID": "cluster-ABC", "DASTREAM_TRANSFORMS": "heartbeats"}

    settings = Settings.from_environment(environment, resource_id="db-ABC", transforms=None)

    assert (settings.resource_id, settings.transforms) == ("db-ABC", "heartbeats")


def test_empty_and_unknown_variables_are_left_alone():
    environment = {"DASTREAM_RESOURCE_ID": "", "DASTREAM_SOMETHING": "x", "RESOURCE_ID": "x"}

    assert Settings.from_environment(environment) == Settings()


def test_no_transforms_at_all_can_be_given():
    assert Settings.from_environment({}, transforms="").transforms == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("key_cache_keys_max", "many"),
        ("key_cache_keys_max", "1.5"),
        ("key_cache_keys_max", "0"),
        ("key_cache_keys_max", "-1"),
        ("key_cache_age_seconds_max", "soon"),
        ("key_cache_age_seconds_max", "-1"),
        ("key_cache_age_seconds_max", "nan"),
        ("payload_bytes_max", "64 MiB"),
        ("payload_bytes_max", "0"),
        ("payload_bytes_max", "-1"),
    ],
)
def test_unusable_value_is_named_and_not_quoted(name, value):
    with pytest.raises(ConfigError, match=f"settings: DASTREAM_{name.upper()}: ") as caught:
        Settings.from_environment({f"DASTREAM_{name.upper()}": value})

    assert f"`{value}`" not in str(caught.value)


def test_limits_of_decoding_have_the_defaults_of_the_settings():
    assert {name: getattr(Settings(), name) for name in Limits._fields} == Limits()._asdict()
