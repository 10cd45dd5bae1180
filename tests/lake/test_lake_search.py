import gzip
import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakes
import support
from dastream import line
from dastream.event import Event, Origin
from dastream.format.engines import ENGINES
from dastream.lake import search as search_module
from dastream.lake.matching import may_match
from dastream.lake.search import Query, Search
from dastream.lake.times import microseconds
from dastream.sinks import formats
from dastream.storage import FileStorage, S3Storage
from entries import mysql

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Found:
    """What one search found, in its order, with its counts and damages."""

    def __init__(self, root, *, limit=None, storage=None, **query):
        self.damages = []
        storage = storage or FileStorage(root)
        search = Search(storage, Query(**query), limit=limit, on_damage=self.damages.append)
        self.matches = list(search)
        self.counts = search.counts

    @property
    def numbers(self):
        return [int(match.event.id[:32], 16) for match in self.matches]


def test_events_are_found_in_both_layouts_below_one_root(tmp_path):
    lakes.deliver(tmp_path / "lake", lakes.event(1))
    lakes.put(tmp_path, "firehose/2026/11/23/07/x", lakes.lines(lakes.event(2)))
    lakes.write(tmp_path, "firehose/2026/11/23/08/y", lakes.lines(lakes.event(3)))
    found = Found(tmp_path)
    assert sorted(found.numbers) == [1, 2, 3]
    assert (found.counts.objects, found.counts.objects_read) == (3, 3)


def test_a_match_has_the_bytes_that_were_delivered(tmp_path):
    event = lakes.event(1, "SELECT 'é'", objectName=None)
    lakes.deliver(tmp_path, event)
    (match,) = Found(tmp_path).matches
    assert match.line == line.write(event)
    assert match.event.columns.statement == "SELECT 'é'"


def test_parquet_has_the_same_matches_as_json_lines(tmp_path):
    events = [lakes.event(n, f"SELECT {n} 'é'", at=lakes.MORNING + n * HOUR) for n in range(5)]
    lakes.deliver(tmp_path / "lines", *events)
    lakes.deliver(tmp_path / "parquet", *events, format=formats.PARQUET)
    lines, parquet = Found(tmp_path / "lines").matches, Found(tmp_path / "parquet").matches
    assert [(m.line, m.time_us) for m in parquet] == [(m.line, m.time_us) for m in lines]
    assert Found(tmp_path / "parquet", text="2 'É").numbers == [2]


def test_batch_in_both_formats_is_read_from_its_lines(tmp_path):
    lakes.deliver(tmp_path, lakes.event(1))
    lakes.deliver(tmp_path, lakes.event(1), format=formats.PARQUET_WITHOUT_ENTRIES)
    found = Found(tmp_path)
    assert (found.numbers, found.damages, found.counts.objects) == ([1], [], 1)


def test_parquet_without_entries_or_damaged_is_told(tmp_path):
    lakes.deliver(tmp_path / "a", lakes.event(1), format=formats.PARQUET_WITHOUT_ENTRIES)
    lakes.write(tmp_path, "b/cluster=c/day=2026-11-23/x.parquet", b"PAR1 no file")
    lakes.write(tmp_path, "b/cluster=c/day=2026-11-23/y.parquet", b"")
    lakes.deliver(tmp_path / "c", lakes.event(2), format=formats.PARQUET)
    found = Found(tmp_path)
    assert found.numbers == [2]
    assert [damage.reason for damage in found.damages] == [
        "written without the entries: search the JSON lines",
        "not a Parquet file, or damaged",
        "not a Parquet file, or damaged",
    ]


def test_dead_letters_and_other_files_are_not_read(tmp_path):
    lakes.deliver(tmp_path, lakes.event(1))
    lakes.write(tmp_path, "dead-letter/cluster=x/day=2026-11-23/y.jsonl.gz", b"no event")
    lakes.write(tmp_path, "processing-failed/2026/11/23/07/z", b"no event")
    lakes.write(tmp_path, "notes.txt", b"no event")
    found = Found(tmp_path)
    assert (found.numbers, found.damages) == ([1], [])
    assert (found.counts.dead_letters, found.counts.others) == (2, 1)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"user": "DAVIDE"}, [1, 2]),
        ({"user": "dav"}, []),
        ({"user": "dav*"}, [1, 2]),
        ({"user": "*a*"}, [1, 2, 3]),
        ({"user": "*ROOT"}, [4]),
        ({"user": "rö*"}, [5]),
        ({"user": "RÖ*"}, [5]),
        ({"user": "*d*v*d*"}, [1, 2]),
        ({"user": "davide*davide"}, []),
        ({"database": "shop"}, [2]),
        ({"command": "create*"}, [2]),
        ({"object": "public.orders"}, [1]),
        ({"object": "ORDERS"}, [1, 3]),
        ({"object": "other.*"}, [3]),
        ({"object": "public"}, []),
        ({"application": "psql"}, [1, 2, 3, 4]),
        ({"host": "10.0.*"}, [4]),
        ({"text": "SECRET"}, [3, 4]),
        ({"text": "o'brien"}, [2]),
        ({"text": "line\nbreak"}, [2]),
        ({"text": 'a "quoted" /path\\'}, [5]),
        ({"text": "straße"}, [5]),
        ({"text": "STRASSE"}, [5]),
        ({"failed": True}, [4]),
        ({"user": "davide", "command": "select"}, [1]),
        ({"user": "davide", "failed": True}, []),
        ({}, [1, 2, 3, 4, 5]),
    ],
)
def test_everything_that_is_asked_for_holds(tmp_path, query, numbers):
    lakes.deliver(
        tmp_path,
        lakes.event(1, "SELECT 1", objectName="public.orders"),
        lakes.event(2, "SELECT 'O''x' -- O'Brien line\nbreak", databaseName="shop",
                    command="CREATE TABLE", objectName=None),
        lakes.event(3, "select Secret", dbUserName="ada", objectName="other.Orders"),
        lakes.event(4, "select secret", dbUserName="root", remoteHost="10.0.0.1",
                    errorMessage="no", exitCode="42501"),
        lakes.event(5, 'in der Straße, a "quoted" /path\\', dbUserName="Röd",
                    clientApplication=None),
    )  # fmt: skip
    assert Found(tmp_path, **query).numbers == numbers


def test_names_are_found_however_json_spells_them(tmp_path):
    plain = support.compact(support.entry())
    spelled = plain.replace(b'"davide"', rb'"\u0064av\u0069de"').replace(b"SELECT 1", rb"a\/b")
    kelvin = plain.replace(b'"davide"', '"\u212aelvin"'.encode())
    lakes.deliver(tmp_path, lakes.event(1, raw=spelled), lakes.event(2, raw=kelvin))
    assert Found(tmp_path, user="davide").numbers == [1]
    assert Found(tmp_path, text="A/B").numbers == [1]
    assert Found(tmp_path, user="kelvin").numbers == [2]


def test_text_of_mysql_is_found_as_it_was_before_its_quotes_were_escaped():
    entry = support.compact(mysql(r"show status like \'aurora%\'"))
    event = Event("0-0", entry, Origin(ENGINES["aurora-mysql"]))
    query = Query(text="like 'aurora%'")
    assert query.matches(event.columns, None)
    assert may_match(line.write(event), query.needles())


texts = st.text(st.sampled_from('abkK\u017fsSß\u212aİi*"\\/\n\x1b\u202e é.'), max_size=6)


@given(name=texts, statement=texts, pattern=texts, text=texts, ascii=st.booleans())
def test_the_look_at_raw_lines_passes_every_line_that_matches(
    name, statement, pattern, text, ascii
):
    members = support.entry(statement, dbUserName=name)
    raw = json.dumps(members, ensure_ascii=ascii).encode()
    event = lakes.event(raw=raw)
    query = Query(user=pattern, text=text)
    if query.matches(event.columns, None):
        assert may_match(line.write(event), query.needles())


def test_the_look_at_raw_lines_spares_parsing_most(tmp_path):
    query = Query(user="davide", text="orders")
    assert not may_match(line.write(lakes.event(text="SELECT * FROM customers")), query.needles())
    assert may_match(line.write(lakes.event(text="SELECT * FROM Orders")), query.needles())


def at(moment):
    return microseconds(moment)


def test_times_are_from_since_to_before_until(tmp_path):
    morning = lakes.MORNING
    lakes.deliver(tmp_path, *(lakes.event(n, at=morning + n * HOUR) for n in range(1, 5)))
    since, until = at(morning + 2 * HOUR), at(morning + 4 * HOUR)
    assert Found(tmp_path, since_us=since, until_us=until).numbers == [2, 3]
    assert Found(tmp_path, since_us=since).numbers == [2, 3, 4]
    assert Found(tmp_path, until_us=since).numbers == [1]


def test_objects_that_cannot_hold_the_time_are_not_read(tmp_path):
    morning = lakes.MORNING
    lakes.deliver(tmp_path, *(lakes.event(n + 1, at=morning + n * DAY) for n in range(10)))
    found = Found(tmp_path, since_us=at(morning + 5 * DAY), until_us=at(morning + 6 * DAY))
    assert found.numbers == [6]
    assert (found.counts.objects, found.counts.objects_read) == (10, 4)  # day 5, and 6 to 8


def test_firehose_objects_are_pruned_by_the_hour(tmp_path):
    morning = lakes.MORNING.replace(hour=0)
    for n in range(1, 20):
        event = lakes.event(n, at=morning + n * HOUR)
        lakes.put(tmp_path, f"2026/11/23/{n:02}/x", lakes.lines(event))
    found = Found(tmp_path, since_us=at(morning + 15 * HOUR))
    assert found.numbers == [15, 16, 17, 18, 19]
    assert found.counts.objects_read == 6


@pytest.mark.parametrize("late", [-HOUR / 2, HOUR, 47 * HOUR])
def test_an_event_is_found_by_its_own_time_whenever_it_arrived(tmp_path, late):
    lakes.deliver(tmp_path, lakes.event(1, late=late))
    moment = at(lakes.MORNING)
    assert Found(tmp_path, since_us=moment, until_us=moment + 1).numbers == [1]


def test_an_event_without_a_time_has_that_of_its_arrival(tmp_path):
    lakes.deliver(tmp_path, lakes.event(1, startTime=None, logTime=None))
    moment = at(lakes.MORNING)
    assert Found(tmp_path, since_us=moment, until_us=moment + 1).numbers == [1]
    assert Found(tmp_path, since_us=moment + 1).numbers == []


def test_hostile_and_odd_entries_are_found_and_shown(tmp_path):
    lakes.deliver(
        tmp_path,
        lakes.event(1, raw=b"[1,2]"),
        lakes.event(2, raw=b'{"type":"heartbeat"}'),
        lakes.event(3, raw=b"{}"),
        lakes.event(4, raw=b'{"dbUserName":["davide"],"statementId":"%s"}' % (b"9" * 5000)),
        lakes.event(5, "x" * 3_000_000),
    )
    assert Found(tmp_path).numbers == [1, 2, 3, 4, 5]
    assert Found(tmp_path, user="davide").numbers == [5]


def test_a_limit_gives_the_newest_in_the_order_of_their_times(tmp_path):
    morning = lakes.MORNING
    hours = [3, 1, 5, 2, 4]
    lakes.deliver(tmp_path, *(lakes.event(n, at=morning + n * HOUR) for n in hours))
    found = Found(tmp_path, limit=3)
    assert found.numbers == [3, 4, 5]
    assert (found.counts.matched, found.counts.objects_older) == (5, 0)


def test_equal_times_keep_the_order_in_which_they_were_delivered(tmp_path):
    lakes.deliver(tmp_path, *(lakes.event(n) for n in range(1, 6)))
    lakes.put(tmp_path, "2026/11/23/07/x", lakes.lines(lakes.event(9)))
    assert Found(tmp_path, limit=100).numbers == [9, 1, 2, 3, 4, 5]
    assert Found(tmp_path, limit=2).numbers == [4, 5]


@pytest.mark.parametrize("limit", [None, 9])
def test_a_session_is_in_its_order_though_its_starts_are_not(tmp_path, limit):
    """As a server logs whole milliseconds, from which the durations are taken."""
    log_time = "2026-11-23 07:28:05.005+00"
    starts = {2: ".004990", 3: ".003050", 10: ".004200"}
    lakes.deliver(
        tmp_path,
        *(
            lakes.event(number, statementId=number, logTime=log_time,
                        startTime=f"2026-11-23 07:28:05{starts[number]}+00")
            for number in (10, 3, 2)
        ),
        lakes.event(11, statementId=11, logTime="2026-11-23 07:28:05.006+00",
                    startTime="2026-11-23 07:28:01+00"),  # its end carries the session's start
    )  # fmt: skip
    assert Found(tmp_path, limit=limit).numbers == [2, 3, 10, 11]


def test_parts_of_a_statement_and_sessions_of_one_moment_stay_together(tmp_path):
    lakes.deliver(
        tmp_path,
        lakes.event(4, sessionId="b", statementId="0x38ea"),  # no number, as of SQL Server
        lakes.event(2, sessionId="a", statementId=1, substatementId=2),
        lakes.event(5, sessionId="b", statementId="0x07aa"),
        lakes.event(1, sessionId="a", statementId=1, substatementId=1),
        lakes.event(3, sessionId="a", statementId=2),
    )
    assert Found(tmp_path).numbers == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("limit", [None, 30])
def test_the_order_is_over_objects_days_and_layouts(tmp_path, limit):
    noon = lakes.MORNING.replace(hour=12)
    for n in range(1, 20):
        event = lakes.event(n, at=noon + n * HOUR, late=(n * 7 % 5) * 9 * HOUR)
        lakes.deliver(tmp_path / str(n % 3), event)
        arrival = noon + n * HOUR + (n * 7 % 5) * 9 * HOUR
        lakes.put(
            tmp_path,
            f"{arrival:%Y/%m/%d/%H}/x",
            lakes.lines(lakes.event(20 + n, at=noon + n * HOUR)),
        )
    found = Found(tmp_path, limit=50 if limit else None)
    times = [match.event.columns.log_time_us for match in found.matches]
    assert len(times) == 38
    assert times == sorted(times)
    assert found.counts.is_in_order


def test_what_waits_for_its_order_is_bounded_and_disorder_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(search_module, "HELD_BYTES_MAX", 3000)
    lakes.deliver(tmp_path, *(lakes.event(n, at=lakes.MORNING - n * HOUR / 60) for n in range(9)))
    found = Found(tmp_path)
    assert sorted(found.numbers) == list(range(9))
    assert found.numbers != list(reversed(range(9)))
    assert not found.counts.is_in_order
    assert Found(tmp_path, limit=9).numbers == list(reversed(range(9)))


def test_matches_come_before_all_objects_are_read(tmp_path):
    lakes.deliver(tmp_path, *(lakes.event(n, at=lakes.MORNING + n * DAY) for n in range(10)))
    search = Search(FileStorage(tmp_path), Query(), on_damage=print)
    assert int(next(iter(search)).event.id[:32], 16) == 0
    assert search.counts.objects_read == 3


def test_objects_of_older_events_are_not_read_once_the_limit_is_full(tmp_path):
    morning = lakes.MORNING
    lakes.deliver(tmp_path, *(lakes.event(n + 1, at=morning + n * DAY) for n in range(10)))
    found = Found(tmp_path, limit=2)
    assert found.numbers == [9, 10]
    assert (found.counts.objects_read, found.counts.objects_older) == (2, 8)


def test_the_newest_are_found_over_both_layouts(tmp_path):
    evening = lakes.MORNING.replace(hour=23)
    lakes.deliver(tmp_path, lakes.event(1, at=evening))
    for n in range(2, 20):
        event = lakes.event(n, at=evening.replace(hour=n))
        lakes.put(tmp_path, f"2026/11/23/{n:02}/x", lakes.lines(event))
    assert Found(tmp_path, limit=1).numbers == [1]


def test_an_event_that_was_delivered_twice_is_found_once(tmp_path):
    lakes.deliver(tmp_path, lakes.event(1), lakes.event(2))
    lakes.put(tmp_path, "2026/11/23/07/x", lakes.lines(lakes.event(2), lakes.event(3)))
    lakes.put(tmp_path, "2026/11/23/08/x", lakes.lines(lakes.event(3)))
    for limit in (None, 10):
        found = Found(tmp_path, limit=limit)
        assert sorted(found.numbers) == [1, 2, 3]
        assert (found.counts.matched, found.counts.duplicates) == (3, 2)


def test_the_memory_for_ids_is_bounded_and_holds_the_last_half(tmp_path, monkeypatch):
    monkeypatch.setattr(search_module, "IDS_MAX", 8)
    repeated = [*range(1, 8), 4, *range(8, 20), 1]
    events = [lakes.event(n) for n in repeated]
    lakes.put(tmp_path, "2026/11/23/07/x", lakes.lines(*events))
    assert Found(tmp_path).numbers == [*range(1, 20), 1]


def test_damage_is_told_by_object_and_line_and_the_rest_is_found(tmp_path):
    good = lakes.lines(lakes.event(1), lakes.event(2))
    lakes.put(tmp_path, "2026/11/23/07/a", b"glued{}\n" + good + b'{"eventId":"x"}\nsecret\n')
    lakes.write(tmp_path, "2026/11/23/07/b", gzip.compress(lakes.lines(lakes.event(3)))[:-4])
    lakes.write(tmp_path, "2026/11/23/07/c", lakes.lines(lakes.event(4)))
    found = Found(tmp_path)
    assert found.numbers == [1, 2, 3, 4]
    assert found.counts.damages == 2
    assert found.damages == [
        ("2026/11/23/07/a", "not a delivered line", 1, 3),
        ("2026/11/23/07/b", "the gzip data ends too early", 2, None),
    ]


def test_a_line_cut_short_is_told_also_where_it_would_not_have_matched(tmp_path):
    data = lakes.lines(lakes.event(1, dbUserName="ada"))
    lakes.write(tmp_path, "2026/11/23/07/a", data + data[:-40])
    assert [damage.line for damage in Found(tmp_path, user="davide").damages] == [2]


def test_a_place_with_nothing_delivered_is_no_error(tmp_path):
    found = Found(tmp_path / "nowhere")
    assert (found.matches, found.counts.objects) == ([], 0)


def test_a_lake_in_s3_is_searched_alike(aws, tmp_path):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="lake")
    lakes.deliver(tmp_path, lakes.event(1), lakes.event(2, dbUserName="ada"))
    for item in FileStorage(tmp_path).list():
        body = FileStorage(tmp_path).get(item.key)
        s3.put_object(Bucket="lake", Key=f"a/{item.key}", Body=body)
    assert Found(None, storage=S3Storage(s3, "lake", "a"), user="ada").numbers == [2]
