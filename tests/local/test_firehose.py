from __future__ import annotations

import base64
import gzip
import json
import re
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain

import pytest

from dastream.checkpoint import MemoryCheckpoints, SqliteCheckpoints
from dastream.errors import ConfigError, KeyServiceError, SinkError
from dastream.local import lambda_function
from dastream.local.firehose import DeliveryStream, buffering, stream, transformation
from dastream.local.firehose.buffering import BufferingHints, RecordBuffer
from dastream.local.firehose.reader import SourceRecord, StreamReader

ACCOUNT_ARN = "us-east-1:123456789012"


def answer(record, result="Ok", data=None):
    data = record["data"] if data is None else base64.b64encode(data).decode()
    return {"recordId": record["recordId"], "result": result, "data": data}


def echo(event, context):
    return {"records": [answer(record) for record in event["records"]]}


def decoded(record):
    return base64.b64decode(record["data"])


@pytest.fixture
def deliver(endpoint, stream, bucket):
    """Run a delivery stream from `stream` to `bucket`; what is in the stream is delivered."""

    @contextmanager
    def run(handler, **options):
        fast = {"lambda_buffer_seconds_max": 0.05, "buffer_seconds_max": 0.1, "retry_seconds": 0.01}
        delivery = DeliveryStream(
            "audit",
            source=stream,
            handler=handler,
            bucket=bucket,
            kinesis=endpoint.client("kinesis"),
            s3=endpoint.client("s3"),
            **fast | options,
        )
        delivery.start()
        try:
            yield delivery
        finally:
            delivery.stop()

    return run


@pytest.fixture
def put(endpoint, stream):
    def put(*data):
        for i in range(0, len(data), 500):
            records = [
                {"Data": d, "PartitionKey": f"key-{j}"} for j, d in enumerate(data[i : i + 500])
            ]
            endpoint.client("kinesis").put_records(StreamName=stream, Records=records)

    return put


@pytest.fixture
def objects(endpoint, bucket):
    """The objects in `bucket` under a prefix, by key."""
    s3 = endpoint.client("s3")

    def objects(prefix=""):
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        keys = [item["Key"] for item in found]
        return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    return objects


@pytest.fixture
def failures(objects):
    def failures():
        return [
            json.loads(line)
            for body in objects("processing-failed/").values()
            for line in body.splitlines()
        ]

    return failures


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestDelivery:
    def test_ok_data_is_joined_as_it_is_under_the_services_name(self, deliver, put, objects):
        put(b"a", b"b", b"", b"c\n")
        before = datetime.now(UTC)
        with deliver(echo, prefix="events/") as delivery:
            pass
        ((key, body),) = objects().items()
        assert sorted(body) == sorted(b"abc\n")
        name = re.fullmatch(
            r"events/(\d{4}/\d\d/\d\d/\d\d)/audit-1-(\d{4}(?:-\d\d){5})-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
            key,
        )
        written = datetime.strptime(f"{name[2]}+0000", "%Y-%m-%d-%H-%M-%S%z")
        assert name[1] == written.strftime("%Y/%m/%d/%H")
        assert before.timestamp() - 1 <= written.timestamp() <= datetime.now(UTC).timestamp()
        counters = delivery.counters
        assert (counters.records, counters.ok, counters.invocations, counters.objects) == (
            4,
            4,
            1,
            1,
        )
        assert (counters.dropped, counters.failed, counters.error_objects) == (0, 0, 0)

    def test_another_goes_on_after_what_is_in_s3(self, deliver, put, objects, tmp_path):
        for data in (b"a", b"b"):
            put(*[data] * 20)
            with deliver(echo, checkpoints=SqliteCheckpoints(tmp_path / "firehose")):
                pass
        assert sorted(b"".join(objects().values())) == sorted(b"a" * 20 + b"b" * 20)

    def test_what_is_not_in_s3_yet_is_read_again(self, deliver, put, objects, stream):
        checkpoints = MemoryCheckpoints()
        put(b"a", b"b")
        with deliver(echo, checkpoints=checkpoints, buffer_seconds_max=3600.0) as delivery:
            wait_until(lambda: delivery.counters.ok == 2)
            time.sleep(0.5)
            assert not checkpoints.progress(stream)
            assert not objects()
        assert checkpoints.progress(stream)
        with deliver(echo, checkpoints=checkpoints):
            pass
        assert sorted(b"".join(objects().values())) == sorted(b"ab")

    def test_records_that_leave_nothing_or_fail_are_not_read_again(
        self, deliver, put, objects, stream
    ):
        def choose(event, context):
            results = {b"d": "Dropped", b"f": "ProcessingFailed"}
            return {"records": [answer(r, results[decoded(r)]) for r in event["records"]]}

        checkpoints = MemoryCheckpoints()
        put(b"d", b"f")
        for _ in range(2):
            with deliver(choose, checkpoints=checkpoints):
                pass
        (body,) = objects("processing-failed/").values()
        assert body.count(b"\n") == 1

    def test_gzip_has_its_suffix(self, deliver, put, objects):
        put(b"a")
        with deliver(echo, compression="GZIP"):
            pass
        ((key, body),) = objects().items()
        assert key.endswith(".gz")
        assert gzip.decompress(body) == b"a"

    def test_dropped_records_leave_nothing(self, deliver, put, objects):
        put(b"a", b"b")
        with deliver(lambda e, c: {"records": [answer(r, "Dropped") for r in e["records"]]}) as d:
            pass
        assert objects() == {}
        assert (d.counters.records, d.counters.dropped, d.counters.objects) == (2, 2, 0)

    def test_delivers_while_it_runs(self, deliver, put, objects):
        with deliver(echo):
            put(b"first")
            wait_until(lambda: b"first" in objects().values())
            put(b"second")
            wait_until(lambda: b"second" in objects().values())

    def test_every_record_of_all_shards_is_delivered_once(self, deliver, put, objects):
        data = [b"%06d\n" % i for i in range(4000)]
        with deliver(echo, lambda_buffer_bytes_max=5000, buffer_bytes_max=10_000) as delivery:
            put(*data[:2000])
            put(*data[2000:])
        bodies = objects().values()
        assert sorted(line for body in bodies for line in body.splitlines(keepends=True)) == data
        assert delivery.counters.ok == 4000
        assert delivery.counters.invocations >= 6
        assert delivery.counters.objects == len(bodies) >= 2

    def test_a_stream_that_goes_is_the_end_and_one_that_takes_its_name_is_read(
        self, endpoint, deliver, put, objects, stream
    ):
        kinesis = endpoint.client("kinesis")
        with deliver(echo) as delivery:
            put(b"before")
            wait_until(lambda: delivery.counters.records == 1)
            kinesis.delete_stream(StreamName=stream)
            time.sleep(0.3)
            kinesis.create_stream(StreamName=stream, ShardCount=1)
            put(b"after")
            wait_until(lambda: delivery.counters.records == 2)
            kinesis.delete_stream(StreamName=stream)
        assert sorted(b"".join(objects().values())) == sorted(b"beforeafter")

    def test_no_thread_stays(self, deliver, put):
        before = set(threading.enumerate())
        with deliver(echo):
            assert any(t.name == "firehose-audit" for t in threading.enumerate())
        assert not {t for t in threading.enumerate() if t.name == "firehose-audit"} - before

    def test_a_missing_source_is_refused(self, endpoint, bucket):
        delivery = DeliveryStream(
            "audit",
            source="none",
            handler=echo,
            bucket=bucket,
            kinesis=endpoint.client("kinesis"),
            s3=endpoint.client("s3"),
        )
        with pytest.raises(ConfigError, match="cannot read the stream none: ResourceNotFound"):
            delivery.start()
        delivery.stop()


class TestInvocation:
    def test_the_event_is_the_services(self, deliver, put, stream):
        seen = []

        def handler(event, context):
            seen.append((event, context))
            return echo(event, context)

        put(b"\x00data")
        with deliver(handler):
            pass
        ((event, context),) = seen
        (record,) = event["records"]
        sequence = record["kinesisRecordMetadata"]["sequenceNumber"]
        arrival = record["approximateArrivalTimestamp"]
        assert event == {
            "invocationId": event["invocationId"],
            "deliveryStreamArn": f"arn:aws:firehose:{ACCOUNT_ARN}:deliverystream/audit",
            "sourceKinesisStreamArn": f"arn:aws:kinesis:{ACCOUNT_ARN}:stream/{stream}",
            "region": "us-east-1",
            "records": [
                {
                    "recordId": f"{sequence}000000",
                    "approximateArrivalTimestamp": arrival,
                    "data": base64.b64encode(b"\x00data").decode(),
                    "kinesisRecordMetadata": {
                        "sequenceNumber": sequence,
                        "subsequenceNumber": 0,
                        "partitionKey": "key-0",
                        "shardId": record["kinesisRecordMetadata"]["shardId"],
                        "approximateArrivalTimestamp": arrival,
                    },
                }
            ],
        }
        assert abs(arrival / 1000 - time.time()) < 60
        assert context.function_name == "audit"
        assert 299_000 < context.get_remaining_time_in_millis() <= 300_000

    def test_batches_are_cut_at_the_size_but_never_empty(self, deliver, put):
        sizes = []

        def handler(event, context):
            sizes.append([len(decoded(record)) for record in event["records"]])
            return echo(event, context)

        put(*[b"x" * 400] * 10, b"x" * 3000)
        with deliver(handler, lambda_buffer_bytes_max=1000):
            pass
        assert all(sum(batch) <= 1000 or len(batch) == 1 for batch in sizes)
        assert sorted(chain.from_iterable(sizes)) == [400] * 10 + [3000]

    def test_tiny_records_never_make_a_request_over_lambdas_limit(self):
        records = [SourceRecord(b"x", "k" * 256, "shard", str(i), 1) for i in range(10_000)]
        buffer = RecordBuffer(BufferingHints(3 << 20, 60))
        buffer.add(records)
        batches = []
        while buffer:
            batches.append(buffer.take())
        assert list(chain.from_iterable(batches)) == records
        assert len(batches) > 1
        for batch in batches:
            event = {"records": [transformation._event_record(record) for record in batch]}
            size = len(json.dumps(event)) + buffering._REQUEST_FRAME_BYTES
            assert size <= lambda_function.REQUEST_BYTES_MAX


class TestFailure:
    def test_processing_failed_goes_to_the_error_output_as_it_was(
        self, deliver, put, objects, failures
    ):
        def handler(event, context):
            bad = [answer(r, "ProcessingFailed") for r in event["records"] if decoded(r) == b"bad"]
            good = [answer(r, data=b"fine") for r in event["records"] if decoded(r) != b"bad"]
            return {"records": bad + good}

        put(b"good", b"bad")
        with deliver(handler, prefix="events/") as delivery:
            pass
        assert list(objects("events/").values()) == [b"fine"]
        (key,) = objects("processing-failed/")
        assert re.match(r"processing-failed/\d{4}/\d\d/\d\d/\d\d/audit-1-", key)
        (line,) = failures()
        arrival, ended = line.pop("arrivalTimestamp"), line.pop("attemptEndingTimestamp")
        assert line == {
            "attemptsMade": 1,
            "errorCode": "Lambda.ProcessingFailedStatus",
            "errorMessage": "ProcessingFailed status set for record",
            "rawData": base64.b64encode(b"bad").decode(),
            "lambdaArn": f"arn:aws:lambda:{ACCOUNT_ARN}:function:audit:$LATEST",
        }
        assert arrival <= ended <= time.time() * 1000
        assert (delivery.counters.ok, delivery.counters.failed) == (1, 1)
        assert (delivery.counters.objects, delivery.counters.error_objects) == (1, 1)

    def test_a_handler_that_raises_is_invoked_three_times_more(self, deliver, put, failures):
        invocations = []

        def handler(event, context):
            invocations.append((event.pop("invocationId"), event))
            raise RuntimeError("secret")

        put(b"a", b"b")
        with deliver(handler) as delivery:
            wait_until(lambda: delivery.counters.failed == 2)
        assert len({invocation for invocation, _ in invocations}) == 4
        assert all(event == invocations[0][1] for _, event in invocations)
        assert sorted(line["rawData"] for line in failures()) == ["YQ==", "Yg=="]
        assert {line["attemptsMade"] for line in failures()} == {4}
        assert {line["errorCode"] for line in failures()} == {"Lambda.FunctionError"}

    def test_a_handler_that_recovers_delivers(self, deliver, put, objects):
        invocations = []

        def handler(event, context):
            invocations.append(event)
            if len(invocations) < 4:
                raise KeyServiceError("kms: throttled")
            return echo(event, context)

        put(b"a")
        with deliver(handler) as delivery:
            pass
        assert list(objects().values()) == [b"a"]
        assert delivery.counters.invocations == 4

    @pytest.mark.parametrize(
        "reply",
        [
            lambda records: None,
            lambda records: {"records": "none"},
            lambda records: {"records": [None]},
            lambda records: {"records": [answer(r, "Maybe") for r in records]},
            lambda records: {"records": [answer(r) | {"data": "*"} for r in records]},
            lambda records: {"records": [answer(r) | {"data": None} for r in records]},
            lambda records: {"records": [answer(r) for r in records], "set": {1}},
            lambda records: {"records": [answer(r, data=b"x" * 4_800_000) for r in records]},
        ],
        ids=[
            "nothing",
            "no list",
            "no objects",
            "unknown result",
            "no base64",
            "no data",
            "no JSON",
            "over 6 MB",
        ],
    )
    def test_an_unusable_reply_is_asked_for_three_times_more(self, deliver, put, failures, reply):
        put(b"a")
        with deliver(lambda event, context: reply(event["records"])) as delivery:
            wait_until(lambda: delivery.counters.failed)
        (line,) = failures()
        assert (line["errorCode"], line["attemptsMade"]) == ("Lambda.FunctionError", 4)
        assert delivery.counters.invocations == 4

    def test_the_largest_reply_that_lambda_returns_is_delivered(self, deliver, put, objects):
        put(b"a")
        frame = len(json.dumps({"records": [{"recordId": "0" * 62, "result": "Ok", "data": ""}]}))
        data = b"x" * ((lambda_function.REPLY_BYTES_MAX - frame) // 4 * 3)
        with deliver(lambda e, c: {"records": [answer(r, data=data) for r in e["records"]]}):
            pass
        assert list(objects().values()) == [data]

    def test_a_record_left_out_or_given_twice_fails_alone_and_at_once(
        self, deliver, put, objects, failures
    ):
        def handler(event, context):
            by_data = {decoded(record): answer(record) for record in event["records"]}
            twice, fine = by_data[b"twice"], by_data[b"fine"]
            return {"records": [twice, fine, twice, fine | {"recordId": "never asked"}]}

        put(b"fine", b"twice", b"missing")
        with deliver(handler, prefix="events/") as delivery:
            wait_until(lambda: delivery.counters.failed == 2)
        assert list(objects("events/").values()) == [b"fine"]
        assert {
            (line["errorCode"], line["rawData"], line["attemptsMade"]) for line in failures()
        } == {
            ("Lambda.DuplicatedRecordId", base64.b64encode(b"twice").decode(), 1),
            ("Lambda.MissingRecordId", base64.b64encode(b"missing").decode(), 1),
        }

    def test_a_handler_that_takes_too_long_has_timed_out(self, deliver, put, failures, monkeypatch):
        monkeypatch.setattr(stream, "INVOCATION_SECONDS_MAX", 0.01)

        def handler(event, context):
            time.sleep(0.02)
            return echo(event, context)

        put(b"a")
        with deliver(handler):
            pass
        (line,) = failures()
        assert (line["errorCode"], line["attemptsMade"]) == ("Lambda.FunctionTimedOut", 4)

    def test_nothing_of_the_data_is_logged(self, deliver, put, caplog, capfd):
        def handler(event, context):
            raise ValueError(decoded(event["records"][0]).decode())

        caplog.set_level("DEBUG", logger="dastream")
        put(b"secret")
        with deliver(handler):
            pass
        assert "the handler raised: ValueError" in caplog.text
        for text in (caplog.text, *capfd.readouterr()):
            assert "secret" not in text
            assert base64.b64encode(b"secret").decode() not in text


class TestTrouble:
    def test_objects_wait_until_s3_takes_them(self, endpoint, deliver, put, bucket, objects):
        s3 = endpoint.client("s3")
        s3.delete_bucket(Bucket=bucket)
        with deliver(echo) as delivery:
            put(b"first")
            wait_until(lambda: delivery.counters.ok == 1)
            time.sleep(0.2)
            assert delivery.counters.objects == 0
            put(b"second")
            s3.create_bucket(Bucket=bucket)
        # One object or two, as the first attempt came before the second record or after it.
        assert b"".join(sorted(objects().values())) == b"firstsecond"

    def test_stop_raises_when_s3_never_takes_them(
        self, endpoint, deliver, put, bucket, monkeypatch
    ):
        monkeypatch.setattr(stream, "_FAILURES_MAX", 2)
        endpoint.client("s3").delete_bucket(Bucket=bucket)
        put(b"a")
        with pytest.raises(SinkError, match="cannot write to the bucket"), deliver(echo):
            pass


class SplitStream:
    """A client of a stream that was split: moto's closed shards never end."""

    def __init__(self):
        self.shards = {"parent": [b"1", b"2"], "left": [b"3"], "right": [b"4"]}

    def list_shards(self, **asked):
        if "NextToken" not in asked:
            left = {"ShardId": "left", "ParentShardId": "parent", "AdjacentParentShardId": "old"}
            return {"Shards": [left], "NextToken": "more"}
        return {"Shards": [{"ShardId": "right", "ParentShardId": "parent"}, {"ShardId": "parent"}]}

    def get_shard_iterator(self, **asked):
        return {"ShardIterator": f"{asked['ShardId']} 0"}

    def get_records(self, **asked):
        shard, index = asked["ShardIterator"].split()
        records = [
            {
                "Data": data,
                "PartitionKey": "k",
                "SequenceNumber": index,
                "ApproximateArrivalTimestamp": datetime.now(UTC),
            }
            for data in self.shards[shard][int(index) :][:1]
        ]
        if shard == "parent" and not records:
            return {"Records": [], "MillisBehindLatest": 0}
        following = f"{shard} {int(index) + len(records)}"
        return {"Records": records, "MillisBehindLatest": 0, "NextShardIterator": following}


def test_children_are_read_when_their_parents_have_ended():
    reader = StreamReader(SplitStream(), "split", {})
    rounds = [list(reader.pages()) for _ in range(5)]
    read = [[record.data for page in pages for record in page.records] for pages in rounds]
    assert read == [[b"1"], [b"2"], [], [b"3", b"4"], []]
    at_tip = [all(page.is_at_tip for page in pages) for pages in rounds]
    assert at_tip == [False, False, False, False, True]


def partitioned(event, context):
    """Records to partitions named by their data; `-` has none."""
    return {
        "records": [
            answer(r) | {"metadata": {"partitionKeys": {"day": decoded(r).decode().strip("-")}}}
            for r in event["records"]
        ]
    }


class TestPrefixes:
    def test_each_partition_has_objects_of_its_own(self, deliver, put, objects):
        put(b"monday", b"tuesday", b"monday")
        prefix = "lake/day=!{partitionKeyFromLambda:day}/"
        with deliver(
            partitioned, prefix=prefix, compression="GZIP", extension=".txt.gz"
        ) as delivery:
            pass
        found = {key.rpartition("/")[0]: gzip.decompress(body) for key, body in objects().items()}
        assert found == {"lake/day=monday": b"mondaymonday", "lake/day=tuesday": b"tuesday"}
        assert all(
            re.fullmatch(r"audit-1-.*\.txt\.gz", key.rpartition("/")[2]) for key in objects()
        )
        assert delivery.counters.objects == 2

    def test_a_record_without_a_partition_has_failed(self, deliver, put, objects):
        put(b"monday", b"-")
        with deliver(
            partitioned,
            prefix="lake/!{partitionKeyFromLambda:day}/",
            error_prefix="lake/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/",
        ):
            pass
        (key,) = objects("lake/processing-failed/")
        assert re.match(r"lake/processing-failed/\d{4}/\d\d/\d\d/\d\d/audit-1-", key)
        (failure,) = map(json.loads, objects("lake/processing-failed/")[key].splitlines())
        assert failure["errorCode"] == "DynamicPartitioning.MetadataExtractionFailed"
        assert base64.b64decode(failure["rawData"]) == b"-"
