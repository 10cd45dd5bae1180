"""Shards split, merged and listed as on AWS, on our endpoint and on kinesalite."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from contract_calls import (
    FIRST,
    HASH_KEYS,
    data,
    fault,
    iterator,
    merge,
    put,
    read,
    read_stream,
    shards,
    split,
)

SECOND, THIRD = (f"shardId-{n:012d}" for n in (1, 2))


class TestSplit:
    def test_new_records_go_to_the_children(self, kinesis, stream):
        put(kinesis, stream, b"old", key="a")
        split(kinesis, stream)
        put(kinesis, stream, b"left", key="a")
        put(kinesis, stream, b"right", key="b")
        found = {
            s: data(read(kinesis, iterator(kinesis, stream, shard=s)))
            for s in shards(kinesis, stream)
        }
        assert found == {FIRST: [b"old"], SECOND: [b"left"], THIRD: [b"right"]}

    def test_the_parent_ends(self, kinesis, stream):
        put(kinesis, stream, b"1", b"2", b"3")
        latest = iterator(kinesis, stream, "LATEST")
        split(kinesis, stream)
        pages = read(kinesis, iterator(kinesis, stream), Limit=2, empty_pages_max=9)
        assert data(pages) == [b"1", b"2", b"3"]
        assert pages[-1].get("NextShardIterator") is None
        for at in (latest, iterator(kinesis, stream, "LATEST")):
            pages = read(kinesis, at, empty_pages_max=9)
            assert data(pages) == []
            assert pages[-1].get("NextShardIterator") is None

    @pytest.mark.differs(kinesalite="tells no `ChildShards`")
    def test_the_last_page_of_the_parent_names_the_children(self, kinesis, stream):
        split(kinesis, stream)
        (page,) = read(kinesis, iterator(kinesis, stream))
        assert [(c["ShardId"], c["ParentShards"]) for c in page["ChildShards"]] == [
            (SECOND, [FIRST]),
            (THIRD, [FIRST]),
        ]
        listed = shards(kinesis, stream)
        for child in page["ChildShards"]:
            assert child["HashKeyRange"] == listed[child["ShardId"]]["HashKeyRange"]

    def test_parent_and_children_are_described(self, kinesis, stream):
        (number,) = put(kinesis, stream, b"1")
        split(kinesis, stream)
        parent, left, right = shards(kinesis, stream).values()
        sequences = parent["SequenceNumberRange"]
        start, end = sequences["StartingSequenceNumber"], sequences["EndingSequenceNumber"]
        assert int(start) < int(number) < int(end)
        half = HASH_KEYS // 2
        for child, hashes in ((left, (0, half - 1)), (right, (half, HASH_KEYS - 1))):
            assert child["ParentShardId"] == FIRST
            assert "EndingSequenceNumber" not in child["SequenceNumberRange"]
            assert int(child["SequenceNumberRange"]["StartingSequenceNumber"]) > int(number)
            assert tuple(map(int, child["HashKeyRange"].values())) in {hashes, hashes[::-1]}
        summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
        assert summary["OpenShardCount"] == 2

    @pytest.mark.parametrize("key", [0, 1, HASH_KEYS - 1, HASH_KEYS])
    def test_a_key_at_the_edge_is_refused(self, kinesis, stream, key):
        code = fault(
            kinesis.split_shard, StreamName=stream, ShardToSplit=FIRST, NewStartingHashKey=str(key)
        )
        assert code == "InvalidArgumentException"

    def test_an_unknown_shard_is_not_found(self, kinesis, stream):
        split_at = {"ShardToSplit": SECOND, "NewStartingHashKey": "9"}
        code = fault(kinesis.split_shard, StreamName=stream, **split_at)
        assert code == "ResourceNotFoundException"

    @pytest.mark.differs(kinesalite="splits a closed shard once more")
    def test_a_closed_shard_is_refused(self, kinesis, stream):
        split(kinesis, stream)
        code = fault(
            kinesis.split_shard, StreamName=stream, ShardToSplit=FIRST, NewStartingHashKey="99"
        )
        assert code == "InvalidArgumentException"

    def test_no_record_is_lost_while_shards_split(self, kinesis, stream):
        acknowledged, is_done = [], threading.Event()

        def put_on():
            i = 0
            while not is_done.is_set():
                record = {"Data": b"%d" % i, "PartitionKey": str(i)}
                kinesis.put_records(StreamName=stream, Records=[record] * 3)
                acknowledged.extend([record["Data"]] * 3)
                i += 1

        putter = threading.Thread(target=put_on)
        putter.start()
        for shard in (FIRST, SECOND, THIRD):
            time.sleep(0.05)
            split(kinesis, stream, shard)
        is_done.set()
        putter.join()
        found = data([{"Records": read_stream(kinesis, stream)}])
        assert sorted(found) == sorted(acknowledged)


class TestMerge:
    def test_new_records_go_to_the_child_and_both_parents_end(self, kinesis, make):
        stream = make(2)
        put(kinesis, stream, b"left", key="a")
        put(kinesis, stream, b"right", key="b")
        merge(kinesis, stream, FIRST, SECOND)
        put(kinesis, stream, b"new", key="a")
        pages = {
            shard: read(kinesis, iterator(kinesis, stream, shard=shard))
            for shard in shards(kinesis, stream)
        }
        assert {s: data(p) for s, p in pages.items()} == {
            FIRST: [b"left"],
            SECOND: [b"right"],
            THIRD: [b"new"],
        }
        is_open = {s: p[-1].get("NextShardIterator") is not None for s, p in pages.items()}
        assert is_open == {FIRST: False, SECOND: False, THIRD: True}

    @pytest.mark.differs(kinesalite="tells no `ChildShards`")
    def test_the_last_pages_of_both_parents_name_the_child(self, kinesis, make):
        stream = make(2)
        merge(kinesis, stream, FIRST, SECOND)
        for shard in (FIRST, SECOND):
            (page,) = read(kinesis, iterator(kinesis, stream, shard=shard))
            (child,) = page["ChildShards"]
            assert (child["ShardId"], child["ParentShards"]) == (THIRD, [FIRST, SECOND])

    def test_the_child_is_described(self, kinesis, make):
        stream = make(2)
        merge(kinesis, stream, FIRST, SECOND)
        child = shards(kinesis, stream)[THIRD]
        assert (child["ParentShardId"], child["AdjacentParentShardId"]) == (FIRST, SECOND)
        assert child["HashKeyRange"] == {
            "StartingHashKey": "0",
            "EndingHashKey": str(HASH_KEYS - 1),
        }

    def test_shards_that_are_not_neighbours_are_refused(self, kinesis, make):
        stream = make(3)
        for left, right in ((FIRST, THIRD), (FIRST, FIRST), (SECOND, FIRST)):
            pair = {"ShardToMerge": left, "AdjacentShardToMerge": right}
            code = fault(kinesis.merge_shards, StreamName=stream, **pair)
            assert code == "InvalidArgumentException"

    @pytest.mark.differs(kinesalite="merges closed shards once more")
    def test_closed_shards_are_refused(self, kinesis, make):
        stream = make(2)
        merge(kinesis, stream, FIRST, SECOND)
        pair = {"ShardToMerge": FIRST, "AdjacentShardToMerge": SECOND}
        code = fault(kinesis.merge_shards, StreamName=stream, **pair)
        assert code == "InvalidArgumentException"


@pytest.mark.differs(kinesalite="has no UpdateShardCount")
@pytest.mark.parametrize(("before", "target"), [(2, 4), (4, 2), (2, 3), (3, 2), (2, 2)])
def test_the_number_of_open_shards_becomes_as_asked(kinesis, make, before, target):
    stream = make(before)
    scale = {"StreamName": stream, "ScalingType": "UNIFORM_SCALING"}
    reply = kinesis.update_shard_count(**scale, TargetShardCount=target)
    assert (reply["CurrentShardCount"], reply["TargetShardCount"]) == (before, target)
    latest = kinesis.list_shards(StreamName=stream, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    assert len(latest) == target
    covered = sorted(int(s["HashKeyRange"]["EndingHashKey"]) + 1 for s in latest)
    assert covered[-1] == HASH_KEYS
    code = fault(kinesis.update_shard_count, **scale, TargetShardCount=target * 2 + 1)
    assert code == "LimitExceededException"


class TestListShards:
    def test_shards_are_listed_after_one(self, kinesis, make):
        listed = kinesis.list_shards(StreamName=make(3), ExclusiveStartShardId=FIRST)
        assert [s["ShardId"] for s in listed["Shards"]] == [SECOND, THIRD]

    @pytest.mark.differs(kinesalite="lists all shards at once, whatever `MaxResults`")
    def test_shards_are_listed_in_pages(self, kinesis, make):
        page = kinesis.list_shards(StreamName=make(3), MaxResults=2)
        assert [s["ShardId"] for s in page["Shards"]] == [FIRST, SECOND]
        page = kinesis.list_shards(NextToken=page["NextToken"], MaxResults=2)
        assert [s["ShardId"] for s in page["Shards"]] == [THIRD]
        assert "NextToken" not in page

    @pytest.mark.differs(kinesalite="lists all shards at once, whatever `MaxResults`")
    def test_a_token_remembers_the_filter(self, kinesis, make):
        stream = make(3)
        split(kinesis, stream)
        page = kinesis.list_shards(
            StreamName=stream, MaxResults=1, ShardFilter={"Type": "AT_LATEST"}
        )
        found = page["Shards"]
        while "NextToken" in page:
            page = kinesis.list_shards(NextToken=page["NextToken"], MaxResults=1)
            found += page["Shards"]
        assert [s["ShardId"] for s in found] == [f"shardId-{n:012d}" for n in (1, 2, 3, 4)]

    def test_a_token_and_a_stream_are_refused(self, kinesis, stream):
        code = fault(kinesis.list_shards, StreamName=stream, NextToken="any")
        assert code == "InvalidArgumentException"
        assert fault(kinesis.list_shards) == "InvalidArgumentException"

    @pytest.mark.differs(kinesalite="ends itself at a `NextToken`", run=False)
    def test_a_token_that_is_none_is_refused(self, kinesis):
        assert fault(kinesis.list_shards, NextToken="any") == "InvalidArgumentException"

    @pytest.mark.differs(kinesalite="lists all shards, whatever the `ShardFilter`")
    @pytest.mark.parametrize(
        ("filter", "expected"),
        [
            ({"Type": "AT_LATEST"}, [1, 2]),
            ({"Type": "AT_TRIM_HORIZON"}, [0]),
            ({"Type": "AFTER_SHARD_ID", "ShardId": FIRST}, [1, 2]),
            ({"Type": "AFTER_SHARD_ID", "ShardId": SECOND}, [2]),
            ({"Type": "AT_TIMESTAMP", "Timestamp": "before"}, [0]),
            ({"Type": "AT_TIMESTAMP", "Timestamp": "after"}, [1, 2]),
            ({"Type": "FROM_TIMESTAMP", "Timestamp": "after"}, [1, 2]),
        ],
    )
    def test_a_filter_lets_some_through(self, kinesis, stream, filter, expected):
        time.sleep(0.01)
        times = {"before": datetime.now(UTC)}
        time.sleep(0.01)
        split(kinesis, stream)
        time.sleep(0.01)
        times["after"] = datetime.now(UTC)
        if "Timestamp" in filter:
            filter = filter | {"Timestamp": times[filter["Timestamp"]]}
        listed = kinesis.list_shards(StreamName=stream, ShardFilter=filter)["Shards"]
        assert [int(s["ShardId"][-12:]) for s in listed] == expected

    @pytest.mark.parametrize(
        "filter",
        [
            {"Type": "FROM_TRIM_HORIZON"},
            {"Type": "FROM_TIMESTAMP", "Timestamp": datetime.now(UTC) - timedelta(days=2)},
        ],
        ids=["trim horizon", "timestamp"],
    )
    def test_a_filter_lets_all_through(self, kinesis, stream, filter):
        split(kinesis, stream)
        listed = kinesis.list_shards(StreamName=stream, ShardFilter=filter)["Shards"]
        assert [s["ShardId"] for s in listed] == [FIRST, SECOND, THIRD]

    @pytest.mark.differs(kinesalite="lists all shards, whatever the `ShardFilter`")
    @pytest.mark.parametrize("kind", ["AFTER_SHARD_ID", "AT_TIMESTAMP", "FROM_TIMESTAMP"])
    def test_a_filter_without_what_it_needs_is_refused(self, kinesis, stream, kind):
        code = fault(kinesis.list_shards, StreamName=stream, ShardFilter={"Type": kind})
        assert code == "InvalidArgumentException"
