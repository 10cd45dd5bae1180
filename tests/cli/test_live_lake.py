"""What is asked while `dastream run` delivers: each event at most once, and never an error."""

import json
import subprocess
import sys
import threading
from collections import Counter

import pytest
from run_streams import Stream

from dastream.cli.app import run_app
from dastream.lake.database import Database
from dastream.lake.matching import Query
from dastream.lake.search import Search
from dastream.storage import open_storage

STATEMENTS = 120


@pytest.fixture
def stream(aws):
    made = Stream(aws)
    yield made
    made.kinesis.delete_stream(StreamName=made.name)


@pytest.fixture(params=["file", "s3"])
def lake(request, aws, tmp_path):
    if request.param == "file":
        return (tmp_path / "lake").as_uri()
    aws.client("s3").create_bucket(Bucket="live")
    return "s3://live/lake"


@pytest.fixture
def run(stream, lake, tmp_path):
    """A real run, which delivers every batch as JSON lines and as Parquet to the same place."""
    sinks = ["--sink", lake, "--sink", f"{lake}?format=parquet&raw=no"]
    program = "from dastream.cli import main; main()"
    limits = ["--flush-age-seconds-max", "0.1"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, "run", "--source", stream.url, *sinks, *limits,
         "--state", f"sqlite://{tmp_path}/state"],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    yield process
    process.terminate()
    process.communicate(timeout=30)


def searched(lake):
    search = Search(open_storage(lake), Query(), on_damage=pytest.fail)
    return Counter(match.event.columns.statement for match in search)


def queried(lake):
    with Database(open_storage(lake)) as database:
        answer = database.ask("SELECT statement, count(*) AS n FROM events GROUP BY ALL")
        found = Counter()
        for batch in answer.batches:
            found |= Counter({row["statement"]: row["n"] for row in batch.to_pylist()})
        assert not database.damages
        return found


class Follower(threading.Thread):
    """Follows the lake from before the first delivery on."""

    def __init__(self, lake):
        super().__init__(daemon=True)
        self.found = []
        self.stopped = threading.Event()
        self._search = Search(open_storage(lake), Query(), on_damage=pytest.fail)

    def run(self):
        self.found += [match.event.columns.statement for match in self._search]
        for match in self._search.follow(lambda _: self.stopped.wait(0.2)):
            self.found.append(match.event.columns.statement)


@pytest.mark.timeout(180)
def test_every_event_is_there_at_most_once_and_in_the_end_once(stream, lake, run, capsys):
    expected = Counter(f"SELECT {number}" for number in range(STATEMENTS))
    follower = Follower(lake)
    follower.start()
    stream.put_statements([0])
    seen = [searched(lake)]
    while not seen[-1]:
        seen.append(searched(lake))
    for number in range(1, STATEMENTS):
        stream.put_statements([number])
        if number % 6 == 0:
            seen.append((searched if number % 12 else queried)(lake))
    while seen[-1] != expected:
        seen += [searched(lake), queried(lake)]
        assert run.poll() is None, run.stderr.read()
    assert all(count == 1 for found in seen for count in found.values())
    assert len({len(found) for found in seen}) > 3, "the lake grew while it was asked"
    while len(follower.found) < STATEMENTS and follower.is_alive():
        follower.join(0.1)
    follower.stopped.set()
    follower.join()
    assert Counter(follower.found) == expected
    assert run_app(["search", lake, "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert Counter(json.loads(line)["commandText"] for line in lines) == expected
