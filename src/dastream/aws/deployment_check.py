"""What is missing on AWS for a consumer: permissions, the key's policy, the context, the way there.

Nothing is delivered. One record is read, and one key unwrapped, since only that tells whether it
can be done; the sink gets an empty object where no reader looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from dastream.aws.activity_stream import ActivityStreams, Status
from dastream.checks import Check
from dastream.clients import CallError, call, open_client
from dastream.decode import Decoder
from dastream.errors import DastreamError, DecodeError, DecryptError, KeyServiceError
from dastream.keys import encryption_context, kms_unwrap, owner_of
from dastream.record import Position, Record
from dastream.storage import S3Storage, Storage, open_storage

__all__ = ["Deployment", "check_deployment"]

PROBE = "_dastream/check"
"""The object that is put into a sink."""

PAGES_MAX = 10
"""Pages of a stream that are looked through for a record."""

ATTEMPTS_MAX = 2

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})


class Deployment(NamedTuple):
    """What is looked at: a database, or the name of a stream, and where events are to go.

    `role_arn` is the role that is assumed for all but the sink.
    """

    resource: str | None
    stream: str | None
    sink_url: str | None
    region: str | None = None
    role_arn: str | None = None
    resource_id: str | None = None


def check_deployment(deployment: Deployment) -> Iterator[Check]:
    """Look at one thing after the other; what rests on a thing that is missing is left out."""
    identity = _identity(deployment)
    yield identity
    if identity.verdict == "ok":
        yield from _checks_of_stream(deployment)
    if deployment.sink_url is not None:
        yield from _checks_of_sink(deployment.sink_url)


def _client(deployment: Deployment, service: str) -> Any:
    return open_client(
        service,
        region=deployment.region,
        role_arn=deployment.role_arn,
        attempts_max=ATTEMPTS_MAX,
    )


def _identity(deployment: Deployment) -> Check:
    """Who calls. GetCallerIdentity needs no permission, so if it fails, it is the way there."""
    try:
        found = call(_client(deployment, "sts").get_caller_identity)["Arn"]
    except CallError as error:
        if error.code in _DENIED and deployment.role_arn is not None:
            fix = (
                f"allow sts:AssumeRole on {deployment.role_arn} here, and name yourself as a "
                "principal in its trust policy there"
            )
            return Check("identity", "missing", f"the role is denied ({error.code})", None, fix)
        return _failed("identity", error, "sts:GetCallerIdentity", "*")
    except DastreamError as error:
        return _of_error("identity", error)
    return Check("identity", "ok", found)


def _checks_of_stream(deployment: Deployment) -> Iterator[Check]:
    stream = deployment.stream
    if deployment.resource is not None:
        check, status = _activity_stream(deployment, deployment.resource)
        yield check
        stream = status.stream if status else None
        if status and status.kms_key_id:
            yield _key(deployment, status.kms_key_id)
    if stream is None:
        return
    yield (found := _stream(deployment, stream))
    if found.verdict == "ok":
        check, record = _first_record(deployment, stream)
        yield check
        if record is not None:
            yield _unwrap(deployment, record)


def _activity_stream(deployment: Deployment, resource: str) -> tuple[Check, Status | None]:
    name = "activity stream"
    try:
        status = ActivityStreams(_client(deployment, "rds")).status(resource)
    except DastreamError as error:
        return _of_error(name, error), None
    if status.status == "started":
        return Check(name, "ok", f"started, mode {status.mode}: {status.stream}"), status
    fix = f"dastream stream start {status.identifier} --kms-key-id KEY"
    if status.status in ("starting", "stopping"):
        fix = "wait until that is done"
    return Check(name, "missing", status.status, None, fix), status


def _key(deployment: Deployment, key_id: str) -> Check:
    try:
        key = call(_client(deployment, "kms").describe_key, KeyId=key_id)["KeyMetadata"]
    except CallError as error:
        failed = _failed("key", error, "kms:DescribeKey", key_id)
        if error.code in _DENIED:  # a consumer can do without looking
            return Check("key", "weaker", failed.found, "its state is not to be seen", failed.fix)
        return failed
    if key["KeyState"] == "Enabled":
        return Check("key", "ok", key["Arn"])
    fix = f"aws kms enable-key --key-id {key_id} (a deletion must be cancelled first)"
    return Check("key", "missing", key["KeyState"], "nothing opens without it", fix)


def _stream(deployment: Deployment, stream: str) -> Check:
    try:
        answer = call(_client(deployment, "kinesis").describe_stream_summary, StreamName=stream)[
            "StreamDescriptionSummary"
        ]
    except CallError as error:
        if error.code == "ResourceNotFoundException":
            fix = (
                "check name, region and account; the stream is there while the activity is started"
            )
            return Check("stream", "missing", f"there is no {stream}", None, fix)
        return _failed("stream", error, "kinesis:DescribeStreamSummary", stream)
    shards, hours = answer["OpenShardCount"], answer["RetentionPeriodHours"]
    return Check("stream", "ok", f"{shards} open shards, records stay {hours} hours")


def _first_record(deployment: Deployment, stream: str) -> tuple[Check, Record | None]:
    kinesis = _client(deployment, "kinesis")
    try:
        record = next(_records(kinesis, stream), None)
    except CallError as error:
        allow = "kinesis:ListShards, kinesis:GetShardIterator and kinesis:GetRecords"
        return _failed("read", error, allow, stream), None
    if record is None:
        why = "whether records open cannot be told"
        fix = "look again when the database has done something"
        return Check("read", "weaker", "allowed, but there is no record", why, fix), None
    return Check("read", "ok", "a record was read"), record


def _records(kinesis: Any, stream: str) -> Iterator[Record]:
    for shard in call(kinesis.list_shards, StreamName=stream)["Shards"]:
        iterator = call(
            kinesis.get_shard_iterator,
            StreamName=stream,
            ShardId=shard["ShardId"],
            ShardIteratorType="TRIM_HORIZON",
        )["ShardIterator"]
        for _ in range(PAGES_MAX):
            page = call(kinesis.get_records, ShardIterator=iterator, Limit=1)
            for item in page["Records"]:
                position = Position(stream, shard["ShardId"], item["SequenceNumber"])
                yield Record(item["Data"], position)
            iterator = page.get("NextShardIterator")
            if iterator is None or not page.get("MillisBehindLatest"):
                break


def _unwrap(deployment: Deployment, record: Record) -> Check:
    """Whether the record opens: the permission, the key's policy, and the context at once."""
    assert record.position is not None, "it was read from a stream"
    try:
        owner = owner_of(record.position.stream, deployment.resource_id)
        decode = Decoder(kms_unwrap(_client(deployment, "kms")), resource_id=owner)
        decode(record)
    except KeyServiceError as error:
        ((name, value),) = encryption_context(owner).items()
        fix = (
            "allow kms:Decrypt on the key, in the policy of this role and, if it does not delegate "
            f"to IAM, in the key's; where a condition names kms:EncryptionContext:{name}, it must "
            f"be {value}"
        )
        return Check("open", "missing", str(error), "no record can be decrypted", fix)
    except DecryptError as error:
        return Check(
            "open", "missing", str(error), "the key or the context is another's", error.hint
        )
    except DecodeError as error:
        why = "a record like this becomes a dead letter"
        return Check(
            "open", "weaker", str(error), why, "look at other records with `dastream tail`"
        )
    except DastreamError as error:
        return _of_error("open", error)
    return Check("open", "ok", f"a record opens in the context of {owner}")


def _checks_of_sink(url: str) -> Iterator[Check]:
    try:
        storage = open_storage(url)
    except DastreamError as error:
        yield _of_error("sink", error)
        return
    yield _attempt("sink: list", lambda: next(storage.list("_dastream/"), None))
    yield _attempt("sink: read", lambda: storage.get(f"{PROBE}-absent", 1))
    yield _attempt("sink: write", lambda: storage.put_if_absent(PROBE, b""))
    if isinstance(storage, S3Storage):
        yield _public_access(storage)


def _attempt(name: str, operation: Callable[[], object]) -> Check:
    try:
        operation()
    except DastreamError as error:
        return _of_error(name, error)
    return Check(name, "ok", "allowed")


def _public_access(storage: Storage) -> Check:
    name = "bucket: public access"
    bucket = storage.url.removeprefix("s3://").partition("/")[0]
    try:
        answer = call(open_client("s3").get_public_access_block, Bucket=bucket)
        is_blocked = all(answer["PublicAccessBlockConfiguration"].values())
    except CallError as error:
        if error.code != "NoSuchPublicAccessBlockConfiguration":
            why = "whether it is blocked is not to be seen"
            return Check(name, "weaker", error.code, why, "allow s3:GetBucketPublicAccessBlock")
        is_blocked = False
    if is_blocked:
        return Check(name, "ok", "blocked")
    fix = (
        f"aws s3api put-public-access-block --bucket {bucket} --public-access-block-configuration "
        "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,"
        "RestrictPublicBuckets=true"
    )
    return Check(name, "weaker", "not blocked", "a mistake in a policy would publish activity", fix)


def _failed(name: str, error: CallError, permission: str, on: str) -> Check:
    fix = None
    if error.code in _DENIED:
        fix = f"allow {permission} on {on}"
    elif error.hint:
        fix = error.hint
    return Check(name, "missing", error.code, None, fix)


def _of_error(name: str, error: DastreamError) -> Check:
    return Check(name, "missing", str(error), None, error.hint)
