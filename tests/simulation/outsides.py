"""What outlives the consumers: lakes, KMS's keys, and a checkpoint store for several of them."""

from dastream.checkpoint import MemoryCheckpoints
from dastream.checkpoint.dynamodb import DynamodbCheckpoints
from dastream.errors import DecryptError, ServiceError
from dastream.testing import MemoryStorage
from fed import Feed
from ledger import Found
from support import DATA_KEY, STREAM, WRAPPED_KEY

KEYS = {WRAPPED_KEY + b"%d" % number: DATA_KEY for number in range(3)}
POISON = WRAPPED_KEY + b" of somebody else"
MOODY = WRAPPED_KEY + b" at times"
FEED = Feed([(data_key, key) for key, data_key in KEYS.items()], POISON, (DATA_KEY, MOODY))


def open_unwrap(*, is_moody):
    """What KMS would say, while it is in a mood and while it is not."""

    def unwrap(key, _context):
        if key == POISON or (is_moody and key == MOODY):
            raise DecryptError("data key: kms refused it")
        return DATA_KEY if key == MOODY else KEYS[key]

    return unwrap


class Lake(MemoryStorage):
    """A storage that reads every object as it is put, as a reader would."""

    def __init__(self):
        super().__init__()
        self.found = Found()

    def put_if_absent(self, key, data):
        is_first = super().put_if_absent(key, data)
        if is_first:
            self.found.read(key, data)
        return is_first


class FencedCheckpoints:
    """The newest consumer is the one that writes.

    `begun` and `committed` are told of what was written.
    """

    def __init__(self, begun, committed):
        self._begun = begun
        self._committed = committed
        self._generation = 0
        self.lose()

    def lose(self):
        """Somebody removes the state."""
        self.held = MemoryCheckpoints()

    def next_generation(self):
        self._generation += 1
        return _Generation(self, self._generation)

    def begin(self, generation, stream, beginning, *, aside):
        self._check(generation)
        is_new = _is_new(self.held.beginning(stream), beginning)
        self.held.begin(stream, beginning, aside=aside)
        if is_new:
            self._begun(beginning)

    def commit(self, generation, stream, shard, through, seen_ms):
        self._check(generation)
        self.held.commit(stream, shard, through, seen_ms)
        self._committed(shard, through)

    def _check(self, generation):
        if generation != self._generation:
            raise ServiceError("state: another consumer has started")


def _is_new(before, beginning):
    """Whether a stream is begun, and not only better known than before."""
    return before is None or before[:2] != beginning[:2]


class TableCheckpoints:
    """The real store of generations, in a table of DynamoDB; as above for all else."""

    def __init__(self, client, table, begun, committed):
        self._client = client
        self._table = table
        self._begun = begun
        self._committed = committed
        self.lose()

    def lose(self):
        self._client.delete_item(TableName=self._table, Key={"stream": {"S": STREAM}})

    def next_generation(self):
        return _Told(DynamodbCheckpoints(self._client, self._table), self._begun, self._committed)


class _Told:
    def __init__(self, checkpoints, begun, committed):
        self.beginning = checkpoints.beginning
        self.progress = checkpoints.progress
        self.seen_ms = checkpoints.seen_ms
        self._checkpoints = checkpoints
        self._begun = begun
        self._committed = committed

    def begin(self, stream, beginning, *, aside):
        is_new = _is_new(self._checkpoints.beginning(stream), beginning)
        self._checkpoints.begin(stream, beginning, aside=aside)
        if is_new:
            self._begun(beginning)

    def commit(self, stream, shard, through, seen_ms=None):
        self._checkpoints.commit(stream, shard, through, seen_ms)
        self._committed(shard, through)


class _Generation:
    def __init__(self, store, number):
        self._store = store
        self._number = number

    def beginning(self, stream):
        return self._store.held.beginning(stream)

    def begin(self, stream, beginning, *, aside):
        self._store.begin(self._number, stream, beginning, aside=aside)

    def progress(self, stream):
        return self._store.held.progress(stream)

    def commit(self, stream, shard, through, seen_ms=None):
        self._store.commit(self._number, stream, shard, through, seen_ms)

    def seen_ms(self, stream):
        return self._store.held.seen_ms(stream)

    def close(self):
        pass
