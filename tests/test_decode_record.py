import gzip
import json

import pytest

from dastream import Position, Record, decode_record
from dastream.decode import Decoder
from dastream.errors import (
    ConfigError,
    DecodeError,
    DecryptError,
    EnvelopeError,
    KeyServiceError,
    PayloadError,
)
from dastream.format.engines import ENGINES
from dastream.settings import Settings
from entries import BY_ENGINE
from support import (
    ARRIVAL_MS,
    CLUSTER,
    CONTEXT,
    DATA_KEY,
    HEARTBEAT,
    INSTANCE,
    SUITES,
    WRAPPED_KEY,
    compact,
    encrypt,
    entry,
    envelope,
    payload,
    record,
    sealed,
    unwrap,
)

pytestmark = pytest.mark.usefixtures("with_and_without_accelerators")

OTHER_STREAM = Position("a-stream-of-ones-own", "shardId-000000000000", "1")


def contexts_of(one, **decoder):
    """The contexts that KMS was asked in for a record."""
    asked = []

    def noting(key, context):
        asked.append(dict(context))
        return DATA_KEY

    Decoder(noting, **decoder)(one)
    return asked


@pytest.mark.parametrize("suite", SUITES, ids=hex)
def test_entries_become_events_in_their_order_heartbeats_included(suite):
    entries = [entry("SELECT 1"), HEARTBEAT, entry("SELECT 2"), 5]

    events = decode_record(record(sealed(entries, suite=suite)), unwrap)

    assert [event.entry for event in events] == [compact(value) for value in entries]
    assert [event.kind for event in events] == ["activity", "heartbeat", "activity", "activity"]


@pytest.mark.parametrize("suite", SUITES, ids=hex)
def test_event_id_is_the_message_id_and_the_index(suite):
    message = encrypt(gzip.compress(payload([HEARTBEAT, entry()])), suite=suite)
    message_id = message[4:20] if message[0] == 1 else message[3:35]

    events = decode_record(record(envelope(message)), unwrap)

    assert [event.id for event in events] == [f"{message_id.hex()}-0", f"{message_id.hex()}-1"]


def test_event_id_does_not_depend_on_where_the_record_lay():
    data = sealed([entry()])

    (here,) = decode_record(record(data, 1), unwrap)
    (again,) = decode_record(record(data, 2, arrival_ms=5), unwrap)
    (from_file,) = decode_record(Record(data), unwrap)

    assert here.id == again.id == from_file.id


def test_events_of_a_record_share_where_they_came_from():
    one = record(sealed([entry(), HEARTBEAT]))
    first, second = decode_record(one, unwrap)

    assert first.origin is second.origin
    assert first.origin.engine.name == "aurora-postgresql"
    assert (first.origin.cluster_id, first.origin.instance_id) == (CLUSTER, INSTANCE)
    assert (first.origin.position, first.origin.arrival_ms) == (one.position, ARRIVAL_MS)
    assert first.origin.more is None


def test_unknown_members_of_both_layers_are_kept_apart():
    message = encrypt(gzip.compress(payload([entry()], zone={"a": 1})))

    (event,) = decode_record(record(envelope(message, region="eu")), unwrap)

    assert json.loads(event.origin.more) == {
        "envelope": {"region": "eu"},
        "payload": {"zone": {"a": 1}},
    }


def test_record_without_entries_has_no_events():
    assert decode_record(record(sealed([])), unwrap) == []


def test_context_comes_from_the_streams_name_before_the_setting():
    data = sealed([entry()])

    assert contexts_of(record(data)) == [CONTEXT]
    assert contexts_of(record(data), resource_id="db-OTHER") == [CONTEXT]
    assert contexts_of(Record(data, OTHER_STREAM), resource_id=INSTANCE) == [
        {"aws:rds:db-id": INSTANCE}
    ]
    assert contexts_of(Record(data), resource_id=CLUSTER) == [CONTEXT]
    assert contexts_of(Record(data)) == [{}]


def test_records_of_several_streams_have_contexts_of_their_own():
    data = sealed([entry()])
    position = Position(f"aws-rds-das-{INSTANCE}", "shardId-000000000000", "1")

    assert contexts_of(Record(data, position)) == [{"aws:rds:db-id": INSTANCE}]


def test_resource_id_that_is_none_is_a_config_error():
    with pytest.raises(ConfigError):
        Decoder(unwrap, resource_id="my-cluster")


def test_bound_of_the_settings_holds():
    decode = Decoder.from_settings(Settings(payload_bytes_max=100), unwrap)

    with pytest.raises(PayloadError, match="more than 100 bytes"):
        decode(record(sealed([entry()])))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EnvelopeError),
        (envelope(b""), DecryptError),
        (envelope(encrypt(b"no gzip")), PayloadError),
        (envelope(encrypt(gzip.compress(b"{}"))), PayloadError),
        (envelope(encrypt(gzip.compress(b"[" * 100_000))), PayloadError),
    ],
)
def test_every_layer_has_an_error_of_its_own(data, error):
    with pytest.raises(error) as caught:
        decode_record(record(data), unwrap)

    assert isinstance(caught.value, DecodeError)


def test_trouble_of_the_unwrap_passes_through():
    def throttled(key, context):
        raise KeyServiceError("kms decrypt: ThrottlingException")

    with pytest.raises(KeyServiceError):
        decode_record(record(sealed([entry()])), throttled)


def test_unwrap_gets_the_key_of_the_envelope_and_nothing_is_asked_for_other_data():
    asked = []

    with pytest.raises(EnvelopeError):
        decode_record(record(b"{}"), lambda key, _: asked.append(key))
    assert asked == []

    decode_record(record(sealed([entry()])), lambda key, _: asked.append(key) or DATA_KEY)
    assert asked == [WRAPPED_KEY]


@pytest.mark.parametrize("name", BY_ENGINE)
@pytest.mark.parametrize("text", [b'"SELECT 1"', rb'"cut \ud83d"', b"1e3", b"[[[]]]"])
def test_entry_of_every_engine_becomes_an_event_with_its_bytes(name, text):
    members = BY_ENGINE[name]("TEXT", type="record")
    if name == "postgresql":
        members["serviceName"] = "PostgreSQL"
    written = compact(members).replace(b'"TEXT"', text)
    plaintext = payload([]).replace(b"[]", b'[{"type":"heartbeat"},' + written + b"]")

    heartbeat, event = decode_record(record(envelope(encrypt(gzip.compress(plaintext)))), unwrap)

    assert (heartbeat.kind, event.kind) == ("heartbeat", "activity")
    assert (event.origin.engine.name, event.entry) == (name, written)
    assert event.columns == ENGINES[name].columns(written)
    assert event.columns.user in {"davide", "DAVIDE"}
