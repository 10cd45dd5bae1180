"""Streams and records as on AWS, on our endpoint and on kinesalite."""

import itertools
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from contract_calls import (
    FIRST,
    HASH_KEYS,
    data,
    fault,
    iterator,
    put,
    read,
    read_stream,
    shards,
    wait_until_active,
)

SECOND = "shardId-000000000001"
MIB = 1 << 20


class TestStreams:
    def test_a_stream_is_described_as_it_was_made(self, kinesis, make):
        stream = make(3)
        described = kinesis.describe_stream(StreamName=stream)["StreamDescription"]
        assert described["StreamARN"].endswith(f":stream/{stream}")
        assert (described["RetentionPeriodHours"], described["HasMoreShards"]) == (24, False)
        assert [s["ShardId"][-1] for s in described["Shards"]] == ["0", "1", "2"]
        summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
        assert (summary["OpenShardCount"], summary["StreamStatus"]) == (3, "ACTIVE")

    @pytest.mark.parametrize("count", [1, 3, 7])
    def test_the_shards_of_a_new_stream_share_all_hash_keys(self, kinesis, make, count):
        ranges = [s["HashKeyRange"] for s in shards(kinesis, make(count)).values()]
        starts = [int(r["StartingHashKey"]) for r in ranges]
        ends = [int(r["EndingHashKey"]) + 1 for r in ranges]
        assert [*starts, HASH_KEYS] == [0, *ends]

    def test_a_name_that_is_taken_is_refused(self, kinesis, stream):
        code = fault(kinesis.create_stream, StreamName=stream, ShardCount=1)
        assert code == "ResourceInUseException"

    @pytest.mark.parametrize("name", ["with space", "slash/", "x" * 129, "line\n"])
    def test_a_name_that_is_none_is_refused(self, kinesis, name):
        assert fault(kinesis.create_stream, StreamName=name, ShardCount=1) == "ValidationException"

    def test_an_unknown_stream_is_not_found(self, kinesis):
        key = {"Data": b"", "PartitionKey": "k"}
        for call, arguments in (
            (kinesis.describe_stream, {}),
            (kinesis.describe_stream_summary, {}),
            (kinesis.list_shards, {}),
            (kinesis.delete_stream, {}),
            (kinesis.put_record, key),
            (kinesis.put_records, {"Records": [key]}),
            (kinesis.get_shard_iterator, {"ShardId": FIRST, "ShardIteratorType": "LATEST"}),
            (kinesis.split_shard, {"ShardToSplit": FIRST, "NewStartingHashKey": "2"}),
            (kinesis.merge_shards, {"ShardToMerge": FIRST, "AdjacentShardToMerge": SECOND}),
            (kinesis.add_tags_to_stream, {"Tags": {"a": "b"}}),
        ):
            code = fault(call, StreamName="none", **arguments)
            assert code == "ResourceNotFoundException", call

    def test_a_deleted_stream_is_gone_and_its_name_is_free(self, kinesis, make):
        stream = make()
        put(kinesis, stream, b"old")
        kinesis.delete_stream(StreamName=stream)
        deadline = time.monotonic() + 5
        while stream in kinesis.list_streams(Limit=1000)["StreamNames"]:
            assert time.monotonic() < deadline
        kinesis.create_stream(StreamName=stream, ShardCount=1)
        wait_until_active(kinesis, stream)
        assert read_stream(kinesis, stream) == []

    def test_streams_are_listed_in_pages(self, kinesis, make):
        made = sorted(make() for _ in range(3))
        names, page = [], kinesis.list_streams(Limit=1)
        while page["HasMoreStreams"]:
            names += page["StreamNames"]
            page = kinesis.list_streams(Limit=1, ExclusiveStartStreamName=names[-1])
        names += page["StreamNames"]
        assert [name for name in names if name in made] == made

    @pytest.mark.differs(kinesalite="knows no `NextToken` of ListStreams")
    def test_streams_are_listed_on_from_a_token(self, kinesis, make):
        make(), make()
        page = kinesis.list_streams(Limit=1)
        following = kinesis.list_streams(Limit=1, NextToken=page["NextToken"])
        assert following["StreamNames"] > page["StreamNames"]

    @pytest.mark.differs(kinesalite="knows no `StreamARN`")
    def test_a_stream_is_found_by_its_arn(self, kinesis, stream):
        arn = kinesis.describe_stream(StreamName=stream)["StreamDescription"]["StreamARN"]
        kinesis.put_record(StreamARN=arn, Data=b"a", PartitionKey="k")
        assert kinesis.list_shards(StreamARN=arn)["Shards"]
        assert data([{"Records": read_stream(kinesis, stream)}]) == [b"a"]

    @pytest.mark.differs(kinesalite="knows no on-demand mode")
    def test_a_stream_on_demand_has_four_shards_and_cares_for_them(self, kinesis):
        stream = f"stream-{uuid.uuid4()}"
        kinesis.create_stream(StreamName=stream, StreamModeDetails={"StreamMode": "ON_DEMAND"})
        assert len(shards(kinesis, stream)) == 4
        code = fault(
            kinesis.split_shard, StreamName=stream, ShardToSplit=FIRST, NewStartingHashKey="9"
        )
        assert code == "ValidationException"
        kinesis.delete_stream(StreamName=stream)

    def test_tags_are_set_listed_and_removed(self, kinesis, stream):
        kinesis.add_tags_to_stream(StreamName=stream, Tags={"a": "1", "b": "2"})
        kinesis.add_tags_to_stream(StreamName=stream, Tags={"b": "3"})
        kinesis.remove_tags_from_stream(StreamName=stream, TagKeys=["a"])
        assert kinesis.list_tags_for_stream(StreamName=stream)["Tags"] == [
            {"Key": "b", "Value": "3"}
        ]

    def test_retention_grows_and_shrinks_within_its_limits(self, kinesis, stream):
        grow, shrink = (
            kinesis.increase_stream_retention_period,
            kinesis.decrease_stream_retention_period,
        )
        grow(StreamName=stream, RetentionPeriodHours=48)
        described = kinesis.describe_stream(StreamName=stream)["StreamDescription"]
        assert described["RetentionPeriodHours"] == 48
        invalid = "InvalidArgumentException"
        assert fault(grow, StreamName=stream, RetentionPeriodHours=47) == invalid
        assert fault(shrink, StreamName=stream, RetentionPeriodHours=49) == invalid
        assert fault(shrink, StreamName=stream, RetentionPeriodHours=23) == invalid
        shrink(StreamName=stream, RetentionPeriodHours=24)


class TestPut:
    def test_a_record_comes_back_as_it_was_put(self, kinesis, stream):
        before = datetime.now(UTC) - timedelta(seconds=1)
        body = bytes(range(256))
        reply = kinesis.put_record(StreamName=stream, Data=body, PartitionKey="clé")
        assert reply["ShardId"] == FIRST
        (record,) = read_stream(kinesis, stream)
        assert (record["Data"], record["PartitionKey"]) == (body, "clé")
        assert record["SequenceNumber"] == reply["SequenceNumber"]
        assert before < record["ApproximateArrivalTimestamp"] < before + timedelta(seconds=10)

    def test_the_md5_of_the_partition_key_finds_the_shard(self, kinesis, make):
        stream = make(2)
        # Their MD5s begin with 0c and 92.
        placed = {
            key: kinesis.put_record(StreamName=stream, Data=b"", PartitionKey=key)["ShardId"]
            for key in ("a", "b")
        }
        assert placed == {"a": FIRST, "b": SECOND}

    def test_an_explicit_hash_key_finds_the_shard(self, kinesis, make):
        stream, half = make(2), HASH_KEYS // 2
        keys = ["0", str(half - 1), str(half), str(HASH_KEYS - 1)]
        records = [{"Data": b"", "PartitionKey": "k", "ExplicitHashKey": key} for key in keys]
        reply = kinesis.put_records(StreamName=stream, Records=records)
        assert [r["ShardId"] for r in reply["Records"]] == [FIRST, FIRST, SECOND, SECOND]

    def test_sequence_numbers_grow_and_leave_gaps(self, kinesis, stream):
        numbers = put(kinesis, stream, *[b"x"] * 20) + put(kinesis, stream, *[b"y"] * 20)
        assert [len(n) for n in numbers] == [56] * 40
        steps = [int(b) - int(a) for a, b in itertools.pairwise(numbers)]
        assert min(steps) > 1

    def test_order_for_one_key_is_kept(self, kinesis, stream):
        sent = [b"%d" % i for i in range(1000)]
        for start in range(0, 1000, 250):
            put(kinesis, stream, *sent[start : start + 250])
        assert data([{"Records": read_stream(kinesis, stream)}]) == sent

    def test_no_acknowledged_record_of_four_threads_is_lost(self, kinesis, make):
        stream = make(2)

        def put_all(thread):
            acknowledged = []
            for start in range(0, 5000, 250):
                sent = [b"%d-%d" % (thread, i) for i in range(start, start + 250)]
                records = [{"Data": d, "PartitionKey": d.decode()} for d in sent]
                reply = kinesis.put_records(StreamName=stream, Records=records)
                numbers = [(r["ShardId"], r["SequenceNumber"]) for r in reply["Records"]]
                acknowledged += zip(sent, numbers, strict=True)
            return acknowledged

        with ThreadPoolExecutor(4) as pool:
            acknowledged = dict(itertools.chain(*pool.map(put_all, range(4))))
        records = read_stream(kinesis, stream)
        assert len(records) == len(acknowledged) == len(set(acknowledged.values())) == 20_000
        assert {r["Data"]: r["SequenceNumber"] for r in records} == {
            d: number for d, (_, number) in acknowledged.items()
        }

    def test_500_records_are_taken_and_501_refused(self, kinesis, stream):
        record = {"Data": b"x", "PartitionKey": "k"}
        kinesis.put_records(StreamName=stream, Records=[record] * 500)
        code = fault(kinesis.put_records, StreamName=stream, Records=[record] * 501)
        assert code == "ValidationException"
        assert len(read_stream(kinesis, stream)) == 500

    def test_a_record_of_more_than_1_mib_is_refused(self, kinesis, stream):
        kinesis.put_record(StreamName=stream, Data=b"x" * (MIB - 1), PartitionKey="k")
        big = {"Data": b"x" * (MIB + 1), "PartitionKey": "k"}
        assert fault(kinesis.put_record, StreamName=stream, **big) == "ValidationException"
        assert fault(kinesis.put_records, StreamName=stream, Records=[big]) == "ValidationException"

    @pytest.mark.differs(kinesalite="counts a record's data only, without its partition key")
    def test_the_partition_key_counts_towards_1_mib(self, kinesis, stream):
        code = fault(kinesis.put_record, StreamName=stream, Data=b"x" * MIB, PartitionKey="k")
        assert code == "ValidationException"

    @pytest.mark.differs(kinesalite="has no limit of 5 MiB for the records of a PutRecords")
    def test_a_request_of_more_than_5_mib_is_refused(self, kinesis, stream):
        record = {"Data": b"x" * (MIB - 1000), "PartitionKey": "k"}
        small = {"Data": b"x" * 6000, "PartitionKey": "k"}
        code = fault(kinesis.put_records, StreamName=stream, Records=[record] * 5 + [small])
        assert code == "InvalidArgumentException"

    def test_a_partition_key_has_up_to_256_characters(self, kinesis, stream):
        kinesis.put_record(StreamName=stream, Data=b"x", PartitionKey="é" * 256)
        code = fault(kinesis.put_record, StreamName=stream, Data=b"x", PartitionKey="k" * 257)
        assert code == "ValidationException"

    @pytest.mark.parametrize(
        ("hash_key", "code"),
        [
            (str(HASH_KEYS), "InvalidArgumentException"),
            ("x", "ValidationException"),
            ("1x", "ValidationException"),
        ],
    )
    def test_a_hash_key_that_is_none_refuses_the_whole_request(
        self, kinesis, stream, hash_key, code
    ):
        good = {"Data": b"x", "PartitionKey": "k"}
        bad = good | {"ExplicitHashKey": hash_key}
        assert fault(kinesis.put_records, StreamName=stream, Records=[good, bad]) == code
        assert read_stream(kinesis, stream) == []

    @pytest.mark.differs(kinesalite="takes an `ExplicitHashKey` with a leading zero")
    def test_a_hash_key_with_a_leading_zero_is_refused(self, kinesis, stream):
        record = {"Data": b"x", "PartitionKey": "k", "ExplicitHashKey": "01"}
        assert fault(kinesis.put_record, StreamName=stream, **record) == "ValidationException"


class TestIterators:
    def test_latest_gives_what_comes_later(self, kinesis, stream):
        put(kinesis, stream, b"before")
        latest = iterator(kinesis, stream, "LATEST")
        put(kinesis, stream, b"later")
        assert data(read(kinesis, latest)) == [b"later"]

    def test_at_and_after_a_sequence_number(self, kinesis, stream):
        _, second, _ = put(kinesis, stream, b"1", b"2", b"3")
        at = iterator(kinesis, stream, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=second)
        after = iterator(kinesis, stream, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=second)
        assert data(read(kinesis, at)) == [b"2", b"3"]
        assert data(read(kinesis, after)) == [b"3"]

    def test_after_the_last_sequence_number_comes_the_next_record(self, kinesis, stream):
        (only,) = put(kinesis, stream, b"1")
        after = iterator(kinesis, stream, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=only)
        put(kinesis, stream, b"2")
        assert data(read(kinesis, after)) == [b"2"]

    def test_the_starting_sequence_number_of_a_shard_is_its_beginning(self, kinesis, stream):
        start = shards(kinesis, stream)[FIRST]["SequenceNumberRange"]["StartingSequenceNumber"]
        put(kinesis, stream, b"1")
        at = iterator(kinesis, stream, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=start)
        assert data(read(kinesis, at)) == [b"1"]

    def test_a_time_between_two_records_gives_the_second(self, kinesis, stream):
        put(kinesis, stream, b"1")
        time.sleep(0.02)
        put(kinesis, stream, b"2")
        _, second = read_stream(kinesis, stream)
        arrival = second["ApproximateArrivalTimestamp"]
        at = iterator(kinesis, stream, "AT_TIMESTAMP", Timestamp=arrival)
        assert data(read(kinesis, at)) == [b"2"]

    def test_a_time_before_all_records_gives_all(self, kinesis, stream):
        put(kinesis, stream, b"1", b"2")
        at = iterator(
            kinesis, stream, "AT_TIMESTAMP", Timestamp=datetime.now(UTC) - timedelta(days=1)
        )
        assert data(read(kinesis, at)) == [b"1", b"2"]

    @pytest.mark.differs(kinesalite="never answers for a time after the last record")
    def test_a_time_after_all_records_gives_what_comes_later(self, kinesis, stream):
        put(kinesis, stream, b"1")
        time.sleep(0.02)
        at = iterator(kinesis, stream, "AT_TIMESTAMP", Timestamp=datetime.now(UTC))
        put(kinesis, stream, b"2")
        assert data(read(kinesis, at)) == [b"2"]

    def test_a_time_in_the_future_is_refused(self, kinesis, stream):
        where = {"StreamName": stream, "ShardId": FIRST, "ShardIteratorType": "AT_TIMESTAMP"}
        future = datetime.now(UTC) + timedelta(hours=1)
        invalid = "InvalidArgumentException"
        assert fault(kinesis.get_shard_iterator, **where, Timestamp=future) == invalid
        assert fault(kinesis.get_shard_iterator, **where) == invalid

    def test_an_iterator_can_be_used_again(self, kinesis, stream):
        put(kinesis, stream, b"1", b"2")
        start = iterator(kinesis, stream)
        assert data(read(kinesis, start)) == data(read(kinesis, start)) == [b"1", b"2"]

    def test_the_iterator_of_an_empty_page_goes_on(self, kinesis, stream):
        page = kinesis.get_records(ShardIterator=iterator(kinesis, stream))
        assert page["Records"] == []
        put(kinesis, stream, b"1")
        assert data(read(kinesis, page["NextShardIterator"])) == [b"1"]

    def test_a_limit_makes_pages(self, kinesis, stream):
        put(kinesis, stream, *[b"%d" % i for i in range(7)])
        pages = read(kinesis, iterator(kinesis, stream), Limit=3)
        assert [len(page["Records"]) for page in pages][:3] == [3, 3, 1]
        assert data(pages) == [b"%d" % i for i in range(7)]

    @pytest.mark.differs(kinesalite="has no limit of 10 MiB for a page")
    def test_a_page_has_10_mib_at_most(self, kinesis, stream):
        for _ in range(3):
            put(kinesis, stream, *[b"x" * (MIB - 10)] * 4)
        pages = read(kinesis, iterator(kinesis, stream), empty_pages_max=1)
        sizes = [sum(map(len, data([page]))) for page in pages]
        assert max(sizes) <= 10 * MIB
        assert sum(sizes) == 12 * (MIB - 10)

    @pytest.mark.differs(kinesalite="says 0 milliseconds behind, wherever an iterator is")
    def test_a_page_tells_how_far_behind_it_is(self, kinesis, stream):
        put(kinesis, stream, b"1", b"2")
        time.sleep(0.05)
        behind = kinesis.get_records(ShardIterator=iterator(kinesis, stream), Limit=1)
        assert 40 < behind["MillisBehindLatest"] < 5000
        at_tip = kinesis.get_records(ShardIterator=behind["NextShardIterator"])
        assert at_tip["MillisBehindLatest"] == 0

    def test_an_iterator_that_is_none_is_refused(self, kinesis, stream):
        good = iterator(kinesis, stream)
        for bad in ("x", "AAAA", good[:-8], good[:-8] + "AAAAAAAA", good[8:]):
            code = fault(kinesis.get_records, ShardIterator=bad)
            assert code == "InvalidArgumentException", bad
        assert fault(kinesis.get_records, ShardIterator="x" * 513) == "ValidationException"

    def test_an_iterator_goes_with_its_stream(self, kinesis, make):
        stream = make()
        start = iterator(kinesis, stream)
        kinesis.delete_stream(StreamName=stream)
        time.sleep(0.05)
        code = fault(kinesis.get_records, ShardIterator=start)
        assert code == "ResourceNotFoundException"

    def test_a_sequence_number_that_is_not_of_the_shard_is_refused(self, kinesis, make):
        stream = make(2)
        (mine,) = put(kinesis, stream, b"1", key="a")
        (other,) = put(kinesis, stream, b"2", key="b")
        where = {
            "StreamName": stream,
            "ShardId": FIRST,
            "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
        }
        invalid = "InvalidArgumentException"
        for bad in (other, "12345", mine + "0"):
            code = fault(kinesis.get_shard_iterator, **where, StartingSequenceNumber=bad)
            assert code == invalid, bad
        code = fault(kinesis.get_shard_iterator, **where, StartingSequenceNumber="x")
        assert code == "ValidationException"

    def test_a_sequence_number_goes_with_the_types_that_need_one(self, kinesis, stream):
        (number,) = put(kinesis, stream, b"1")
        where = {"StreamName": stream, "ShardId": FIRST}
        for kind, given in (
            ("AT_SEQUENCE_NUMBER", {}),
            ("AFTER_SEQUENCE_NUMBER", {}),
            ("TRIM_HORIZON", {"StartingSequenceNumber": number}),
            ("LATEST", {"StartingSequenceNumber": number}),
        ):
            code = fault(kinesis.get_shard_iterator, **where, ShardIteratorType=kind, **given)
            assert code == "InvalidArgumentException", kind
        code = fault(kinesis.get_shard_iterator, **where, ShardIteratorType="SOMEWHERE")
        assert code == "ValidationException"

    @pytest.mark.parametrize("shard", ["shardId-000000000007", "shardId-x", "none"])
    def test_an_unknown_shard_is_not_found(self, kinesis, stream, shard):
        code = fault(
            kinesis.get_shard_iterator, StreamName=stream, ShardId=shard, ShardIteratorType="LATEST"
        )
        assert code == "ResourceNotFoundException"

    def test_a_limit_of_more_than_10000_is_refused(self, kinesis, stream):
        start = iterator(kinesis, stream)
        code = fault(kinesis.get_records, ShardIterator=start, Limit=10_001)
        assert code == "ValidationException"
