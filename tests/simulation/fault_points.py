"""Points at which something goes wrong by chance, before a call of the outside or after it."""

from typing import NamedTuple

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from dastream.errors import KeyServiceError, ServiceError

PAUSE_SECONDS = (70, 70, 400, 4000, 100_000)
"""For how long a machine may stand still: batches age, then iterators expire, then shards."""

LATE = ("put", "late")
LATE_SECONDS_MAX = 1.5
"""How late a put is carried out, and under which name that is counted."""

CALLS_MAX = 20_000
"""Calls of one run; whoever needs more goes on forever."""


class CrashError(BaseException):
    """The process ends here: nothing of it does anything any more."""


READING = {
    "beginning",
    "describe_stream_summary",
    "get_records",
    "get_shard_iterator",
    "list",
    "list_shards",
    "progress",
}
WRITING = {"begin", "commit", "get", "put _dastream", "put dead-letter", "put events", "unwrap"}
POINTS = READING | WRITING
READING_WEIGHT = 0.1
"""Most calls only read: with the same chance as the others they would get most of the faults."""


class Chances(NamedTuple):
    """How likely a crash, an error and a stop are at each call that is not only reading.

    `late` is how likely a put is carried out later on, if the process ends at it; `pause` how
    likely a call takes some of `PAUSE_SECONDS`; after `calls_max` calls the run is stopped.
    """

    crash: float = 0.0
    error: float = 0.0
    stop: float = 0.0
    late: float = 0.0
    pause: float = 0.0
    calls_max: int | None = None


class Outside:
    """Every call that one consumer makes of the outside, and what happens to it there.

    A call can fail, and the process end, before the call took effect or after it: stored, but
    nobody was told. `counts` is shared by all consumers and counts what happened where.
    `pass_on` is called first each time: another consumer may go on there. `pause` is told how long
    the machine will stand still, and tells whether the run may fail of what happens meanwhile.
    """

    def __init__(self, chance, chances, clock, counts, pass_on):
        self.counts = counts
        self.errors = 0
        self.stop = lambda: None
        self.pause = lambda seconds: False
        self._pass_on = pass_on
        self._chance = chance
        self._chances = chances
        self._clock = clock
        self._calls = 0
        self._is_dead = False

    def call(self, point, operation, error):
        self._pass_on()
        self._strike(point, "before", error)
        self._clock.advance(self._duration_seconds())
        result = operation()
        self._strike(point, "after", error)
        return result

    def leave_under_way(self, operation):
        """The process has ended; what it asked for may be done later, or never."""

        def carry_out():
            self.counts[LATE] += 1
            operation()

        if self._chance.random() < self._chances.late:
            wait_seconds = self._chance.uniform(0.0, LATE_SECONDS_MAX)
            self._clock.at(self._clock.seconds + wait_seconds, carry_out)

    def _duration_seconds(self):
        if self._chance.random() >= self._chances.pause:
            return self._chance.uniform(0.0, 0.05)
        seconds = self._chance.choice(PAUSE_SECONDS)
        self.errors += self.pause(seconds)
        return seconds

    def _strike(self, point, moment, error):
        if self._is_dead:
            raise CrashError
        self._calls += 1
        assert self._calls < CALLS_MAX, "goes on forever"
        crash, failure, stop, *_ = self._chances
        if self._calls == self._chances.calls_max:
            self.stop()
        drawn = self._chance.random() / (READING_WEIGHT if point in READING else 1)
        if drawn < crash:
            self._is_dead = True
            self.counts[point, moment, "crash"] += 1
            raise CrashError
        if drawn < crash + failure:
            self.counts[point, moment, "error"] += 1
            self.errors += 1
            raise error(self._chance)
        if drawn < crash + failure + stop:
            self.counts[point, moment, "stop"] += 1
            self.stop()


class FaultyClient:
    """The calls of boto3's Kinesis client."""

    def __init__(self, kinesis, outside):
        self._kinesis = kinesis
        self._outside = outside

    def __getattr__(self, name):
        operation = getattr(self._kinesis, name)
        error = _read_error if name == "get_records" else _refused_call
        return lambda **request: self._outside.call(name, lambda: operation(**request), error)

    def close(self):
        pass


class FaultyStorage:
    def __init__(self, storage, outside):
        self.url = storage.url
        self._storage = storage
        self._outside = outside

    def put_if_absent(self, key, data):
        def put():
            return self._storage.put_if_absent(key, data)

        try:
            return self._outside.call(f"put {key.partition('/')[0]}", put, _service_error)
        except CrashError:
            self._outside.leave_under_way(put)
            raise

    def get(self, key, bytes_max=None, *, start=0):
        return self._outside.call(
            "get", lambda: self._storage.get(key, bytes_max, start=start), _service_error
        )

    def list(self, prefix=""):
        yield from self._outside.call("list", lambda: [*self._storage.list(prefix)], _service_error)


class FaultyCheckpoints:
    def __init__(self, checkpoints, outside):
        self._checkpoints = checkpoints
        self._outside = outside

    def beginning(self, stream):
        return self._call("beginning", stream)

    def begin(self, stream, beginning, *, aside):
        self._call("begin", stream, beginning, aside=aside)

    def progress(self, stream):
        return self._call("progress", stream)

    def commit(self, stream, shard, through, seen_ms=None):
        self._call("commit", stream, shard, through, seen_ms)

    def seen_ms(self, stream):
        return self._checkpoints.seen_ms(stream)

    def close(self):
        pass

    def _call(self, name, *arguments, **named):
        operation = getattr(self._checkpoints, name)
        return self._outside.call(name, lambda: operation(*arguments, **named), _service_error)


def faulty_unwrap(unwrap, outside):
    return lambda key, context: outside.call("unwrap", lambda: unwrap(key, context), _kms_error)


def _read_error(chance):
    """What GetRecords is refused with, or how the connection ends."""
    code = chance.choice(
        ["ExpiredIteratorException", "ProvisionedThroughputExceededException"] * 3
        + ["KMSThrottlingException", "InternalFailure", "out of reach", "no answer"]
    )
    if code == "out of reach":
        return EndpointConnectionError(endpoint_url="simulated")
    if code == "no answer":
        return ReadTimeoutError(endpoint_url="simulated")
    return ClientError({"Error": {"Code": code}}, "GetRecords")


def _refused_call(chance):
    code = chance.choice(["LimitExceededException", "InternalFailure"])
    return ClientError({"Error": {"Code": code}}, "simulated")


def _service_error(_chance):
    return ServiceError("simulated: the outside failed")


def _kms_error(_chance):
    return KeyServiceError("simulated: kms did not answer")
