import base64
import gc
import threading
import time
import types

import boto3
import pytest
from botocore.stub import Stubber

from dastream.decode import Decoder
from dastream.errors import ConfigError, DecryptError, KeyServiceError
from dastream.format.message import DataKey
from dastream.keys import (
    CachingUnwrap,
    encryption_context,
    fixed_unwrap,
    kms_unwrap,
    open_unwrap,
    owner_of,
    resource_id,
)
from dastream.record import Record
from dastream.settings import Settings
from support import CLUSTER, CONTEXT, DATA_KEY, INSTANCE, WRAPPED_KEY, envelope

OTHER = {"aws:rds:dbc-id": "cluster-OTHER"}


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Counted:
    """An unwrap that counts its calls by key, and raises what is an error."""

    def __init__(self, **outcomes):
        self.calls = []
        self.outcomes = outcomes

    def __call__(self, key, context):
        self.calls.append(key)
        outcome = self.outcomes.get(key.decode(), DATA_KEY)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def in_threads(count, target):
    """What `count` threads that start together got or raised."""
    barrier = threading.Barrier(count)
    outcomes = []

    def run():
        barrier.wait()
        try:
            outcomes.append(target())
        except Exception as error:  # noqa: BLE001 - whatever it raises is its outcome
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def kept_keys(cache):
    return {name[0] for name in cache._slots}


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (f"aws-rds-das-{CLUSTER}", CLUSTER),
        (f"aws-rds-das-{INSTANCE}", INSTANCE),
        ("aws-rds-das-table-ABC", None),
        ("aws-rds-das-cluster-", None),
        ("aws-rds-das-cluster-ABC/../x", None),
        ("aws-rds-das-cluster-ABC\n", None),
        (CLUSTER, None),
        ("my-stream", None),
        ("", None),
    ],
)
def test_resource_id_is_taken_from_the_name_of_an_activity_stream_only(stream, expected):
    assert resource_id(stream) == expected


def test_owner_is_told_by_the_name_or_given_and_not_both_ways():
    assert owner_of(f"aws-rds-das-{CLUSTER}") == CLUSTER
    assert owner_of("copy", CLUSTER) == CLUSTER
    assert owner_of(f"aws-rds-das-{CLUSTER}", CLUSTER) == CLUSTER
    with pytest.raises(ConfigError, match=f"tells {CLUSTER}, and another one is given") as caught:
        owner_of(f"aws-rds-das-{CLUSTER}", INSTANCE)
    assert "--resource-id" in caught.value.hint


def test_encryption_context_names_clusters_and_instances():
    assert encryption_context(CLUSTER) == {"aws:rds:dbc-id": CLUSTER}
    assert encryption_context(INSTANCE) == {"aws:rds:db-id": INSTANCE}
    # Lower-case letters of an id never make an instance of a cluster.
    assert encryption_context("cluster-db1") == {"aws:rds:dbc-id": "cluster-db1"}


@pytest.mark.parametrize("name", ["", "my-cluster", "cluster-", "db", "db-A B", "arn:aws:rds:x"])
def test_other_names_have_no_encryption_context(name):
    with pytest.raises(ConfigError, match="resource id") as caught:
        encryption_context(name)

    assert "DbClusterResourceId" in caught.value.hint


def test_fixed_data_keys_need_no_context():
    unwrap = fixed_unwrap({base64.b64encode(b"k").decode(): base64.b64encode(DATA_KEY).decode()})

    assert unwrap(b"k", {}) == DATA_KEY
    with pytest.raises(DecryptError, match="not among those given"):
        unwrap(b"other", {})


@pytest.mark.parametrize(
    "data_keys",
    [{"aw==": "not base64"}, {"no base64": "aw=="}, {"aw==": "aw=="}, {"aw==": ""}, {"ü": "aw=="}],
)
def test_data_keys_that_cannot_be_used_are_refused(data_keys):
    with pytest.raises(ConfigError, match="data keys: "):
        fixed_unwrap(data_keys)


def test_second_call_for_a_key_is_a_hit():
    unwrap = CachingUnwrap(asked := Counted())

    assert [unwrap(b"k", CONTEXT) for _ in range(3)] == [DATA_KEY] * 3

    assert asked.calls == [b"k"]
    assert (unwrap.hits, unwrap.misses) == (2, 1)


def test_another_context_is_another_key():
    unwrap = CachingUnwrap(asked := Counted())

    unwrap(b"k", CONTEXT)
    unwrap(b"k", OTHER)

    assert asked.calls == [b"k", b"k"]


def test_order_of_the_context_does_not_matter():
    unwrap = CachingUnwrap(asked := Counted())

    unwrap(b"k", {"a": "1", "b": "2"})
    unwrap(b"k", {"b": "2", "a": "1"})

    assert len(asked.calls) == 1


def test_least_recently_used_key_goes_first():
    unwrap = CachingUnwrap(asked := Counted(), keys_max=2)

    for key in (b"a", b"b", b"a", b"c", b"a", b"b"):
        unwrap(key, CONTEXT)

    assert asked.calls == [b"a", b"b", b"c", b"b"]
    assert len(unwrap._slots) == 2


def test_data_key_is_kept_for_its_age_and_no_longer():
    unwrap = CachingUnwrap(asked := Counted(), age_seconds_max=300, clock=(clock := Clock()))

    unwrap(b"k", CONTEXT)
    clock.now += 299
    unwrap(b"k", CONTEXT)
    assert len(asked.calls) == 1
    clock.now += 1
    unwrap(b"k", CONTEXT)
    assert len(asked.calls) == 2


def test_no_data_key_outlives_its_age_although_it_was_used_last():
    unwrap = CachingUnwrap(Counted(), age_seconds_max=300, clock=(clock := Clock()))
    unwrap(b"old", CONTEXT)
    clock.now += 200
    unwrap(b"young", CONTEXT)
    unwrap(b"old", CONTEXT)

    clock.now += 150
    unwrap(b"new", CONTEXT)

    assert kept_keys(unwrap) == {b"young", b"new"}


def test_data_key_goes_when_it_is_too_old_although_only_others_are_used():
    refused = DecryptError("data key: kms refused it")
    unwrap = CachingUnwrap(Counted(bad=refused), age_seconds_max=300, clock=(clock := Clock()))
    unwrap(b"old", CONTEXT)
    clock.now += 200
    unwrap(b"young", CONTEXT)
    with pytest.raises(DecryptError):
        unwrap(b"bad", CONTEXT)

    for seconds, expected in [
        (59, {b"old", b"young", b"bad"}),
        (1, {b"old", b"young"}),
        (39, {b"old", b"young"}),
        (1, {b"young"}),
    ]:
        clock.now += seconds
        unwrap(b"young", CONTEXT)
        assert kept_keys(unwrap) == expected
    assert unwrap.misses == 3


def test_nothing_holds_a_data_key_that_the_cache_has_dropped():
    clock, gone = Clock(), []

    class Noted(DataKey):
        def __del__(self):
            gone.append(bytes(self))

    cache = CachingUnwrap(lambda key, _: Noted(key * 32), age_seconds_max=10, clock=clock)
    sealed = cache(b"o", CONTEXT).cipher.encrypt(bytes(12), b"text", None)
    assert cache(b"o", CONTEXT).cipher.decrypt(bytes(12), sealed, None) == b"text"
    assert gone == []

    clock.now += 11
    cache(b"n", CONTEXT)
    assert gone == [b"o" * 32]


def test_data_key_of_the_cache_does_not_show():
    cache = CachingUnwrap(lambda key, _: DATA_KEY)

    assert repr(cache(b"k", CONTEXT)) == "<DataKey>"
    assert cache(b"k", CONTEXT) == DATA_KEY


def test_refused_key_costs_one_call_until_its_own_age():
    asked = Counted(poison=DecryptError("data key: kms refused it", hint="check"))
    unwrap = CachingUnwrap(asked, refusal_age_seconds_max=60, clock=(clock := Clock()))

    for _ in range(3):
        with pytest.raises(DecryptError, match="kms refused it") as caught:
            unwrap(b"poison", CONTEXT)
        assert caught.value.hint == "check"
    assert asked.calls == [b"poison"]
    assert (unwrap.hits, unwrap.misses) == (2, 1)

    clock.now += 60
    with pytest.raises(DecryptError):
        unwrap(b"poison", CONTEXT)
    assert len(asked.calls) == 2


def test_key_service_error_is_not_remembered():
    asked = Counted(k=KeyServiceError("kms decrypt: ThrottlingException"))
    unwrap = CachingUnwrap(asked)
    with pytest.raises(KeyServiceError, match="ThrottlingException"):
        unwrap(b"k", CONTEXT)

    asked.outcomes.clear()

    assert unwrap(b"k", CONTEXT) == DATA_KEY
    assert unwrap.misses == 2


def test_call_that_fails_late_takes_no_newer_key_with_it():
    clock, calls = Clock(), []

    def asked(key, context):
        calls.append(key)
        if len(calls) > 1:
            return DATA_KEY
        clock.now += 300
        assert cache(b"k", CONTEXT) == DATA_KEY
        raise KeyServiceError("kms decrypt: ReadTimeoutError")

    cache = CachingUnwrap(asked, age_seconds_max=300, clock=clock)
    with pytest.raises(KeyServiceError):
        cache(b"k", CONTEXT)

    assert cache(b"k", CONTEXT) == DATA_KEY
    assert len(calls) == 2


def test_any_other_exception_is_not_remembered_either():
    asked = Counted(k=RuntimeError("broken"))
    unwrap = CachingUnwrap(asked)
    with pytest.raises(RuntimeError, match="broken"):
        unwrap(b"k", CONTEXT)

    asked.outcomes.clear()

    assert unwrap(b"k", CONTEXT) == DATA_KEY


def answered_late(outcome, others):
    """A cache, and the calls that reach KMS: each is answered when `others` more threads wait."""
    calls = []

    def asked(key, context):
        calls.append(key)
        while unwrap.hits < others:
            time.sleep(0.001)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    unwrap = CachingUnwrap(asked)
    return unwrap, calls


def test_sixteen_threads_at_once_make_one_call():
    unwrap, calls = answered_late(DATA_KEY, others=15)

    assert in_threads(16, lambda: unwrap(b"k", CONTEXT)) == [DATA_KEY] * 16

    assert calls == [b"k"]
    assert (unwrap.hits, unwrap.misses) == (15, 1)


@pytest.mark.parametrize("error", [KeyServiceError("kms decrypt: x"), DecryptError("refused")])
def test_every_waiting_thread_gets_an_error_of_its_own(error):
    unwrap, calls = answered_late(error, others=15)

    outcomes = in_threads(16, lambda: unwrap(b"k", CONTEXT))

    assert calls == [b"k"]
    assert [(type(o), str(o)) for o in outcomes] == [(type(error), str(error))] * 16
    assert len({id(outcome) for outcome in outcomes}) == 16


def test_threads_that_wait_for_a_call_which_broke_off_are_told_so():
    unwrap, _ = answered_late(RuntimeError("SELECT secret"), others=3)

    outcomes = in_threads(4, lambda: unwrap(b"k", CONTEXT))

    kinds = sorted(type(outcome).__name__ for outcome in outcomes)
    assert kinds == ["KeyServiceError"] * 3 + ["RuntimeError"]
    assert not [o for o in outcomes if isinstance(o, KeyServiceError) and "secret" in str(o)]


@pytest.fixture
def wrapped(aws):
    """A data key as KMS wrapped it for the cluster."""
    kms = aws.client("kms")
    kms_key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    made = kms.generate_data_key(KeyId=kms_key_id, KeySpec="AES_256", EncryptionContext=CONTEXT)
    return kms, kms_key_id, made["CiphertextBlob"], made["Plaintext"]


def test_kms_gives_the_data_key_for_the_right_context(wrapped):
    kms, kms_key_id, key, data_key = wrapped

    assert kms_unwrap(kms)(key, CONTEXT) == data_key
    assert kms_unwrap(kms, key_id=kms_key_id)(key, CONTEXT) == data_key


@pytest.mark.parametrize("context", [{}, OTHER, {"aws:rds:db-id": CLUSTER}])
def test_kms_refuses_another_context(wrapped, context):
    kms, _, key, _ = wrapped

    with pytest.raises(DecryptError, match="InvalidCiphertextException") as caught:
        kms_unwrap(kms)(key, context)

    assert "resource id" in caught.value.hint


def test_kms_refuses_a_damaged_key(wrapped):
    kms, _, key, _ = wrapped

    with pytest.raises(DecryptError):
        kms_unwrap(kms)(key[:-1] + bytes([key[-1] ^ 1]), CONTEXT)


def test_disabled_kms_key_is_the_services_trouble(wrapped):
    kms, kms_key_id, key, _ = wrapped
    kms.disable_key(KeyId=kms_key_id)

    with pytest.raises(KeyServiceError, match="DisabledException"):
        kms_unwrap(kms)(key, CONTEXT)


def test_unreachable_kms_is_the_services_trouble():
    client = boto3.client(
        "kms",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=boto3.session.Config(retries={"total_max_attempts": 1}),
    )

    with pytest.raises(KeyServiceError, match="EndpointConnectionError") as caught:
        kms_unwrap(client)(b"k", CONTEXT)
    assert "VPC endpoint" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDeniedException", KeyServiceError),
        ("ThrottlingException", KeyServiceError),
        ("LimitExceededException", KeyServiceError),
        ("KMSInternalException", KeyServiceError),
        ("KMSInvalidStateException", KeyServiceError),
        ("NotFoundException", KeyServiceError),
        ("InvalidCiphertextException", DecryptError),
        ("IncorrectKeyException", DecryptError),
    ],
)
def test_answer_of_kms_is_told_by_its_code_only(code, error):
    client = boto3.client(
        "kms", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    expected = {"CiphertextBlob": b"k", "EncryptionContext": CONTEXT, "KeyId": "alias/a"}
    with Stubber(client) as stubber:
        stubber.add_client_error("decrypt", code, "a long story", expected_params=expected)
        with pytest.raises(error) as caught:
            kms_unwrap(client, key_id="alias/a")(b"k", CONTEXT)

    assert code in str(caught.value)
    assert "story" not in str(caught.value)
    assert caught.value.hint


def test_settings_bound_the_cache_and_pin_the_kms_key(wrapped):
    kms, kms_key_id, key, data_key = wrapped
    settings = Settings(kms_key_id=kms_key_id, key_cache_keys_max=1, key_cache_age_seconds_max=1000)
    unwrap = open_unwrap(settings, kms)

    assert [unwrap(key, CONTEXT), unwrap(key, CONTEXT)] == [data_key, data_key]

    assert (unwrap.hits, unwrap.misses, unwrap._keys_max) == (1, 1, 1)


def reachable(root):
    """All that an object holds, and what that holds; types and modules aside."""
    found, rest = {}, [root]
    while rest:
        one = rest.pop()
        if id(one) not in found and not isinstance(one, type | types.ModuleType):
            found[id(one)] = one
            rest += gc.get_referents(one)
    return list(found.values())


def test_refused_key_keeps_neither_the_record_nor_what_its_callers_hold():
    gone = []

    class Noted(bytes):
        def __del__(self):
            gone.append(bytes(self))

    def refuse(key, context):
        raise DecryptError("data key: kms refused it", hint="check")

    def caller():
        decrypted_before, data = Noted(b"SELECT secret"), Noted(envelope(b"message"))
        with pytest.raises(DecryptError):
            Decoder(cache)(Record(data))
        assert (decrypted_before, gone) == (b"SELECT secret", [])

    cache = CachingUnwrap(refuse)
    caller()

    assert sorted(gone) == [b"SELECT secret", envelope(b"message")]
    held = reachable(cache._slots)
    assert [one for one in held if isinstance(one, bytes)] == [WRAPPED_KEY]
    assert not [one for one in held if isinstance(one, BaseException | types.FrameType)]
