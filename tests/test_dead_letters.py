"""Dead letters are there before anything says that their records are done."""

from dastream.checkpoint import MemoryCheckpoints
from dastream.record import is_reached
from dastream.sinks.lake import LakeSink
from dastream.testing import MemorySource, MemoryStorage
from pipelines import EXPECTED_DEAD_LETTERS, dead_letters, pipeline, stream
from support import STREAM


def test_checkpoint_never_passes_a_dead_letter_that_is_not_durable():
    storage = MemoryStorage()
    passed = []

    class Checkpoints(MemoryCheckpoints):
        def commit(self, stream, shard, through, seen_ms=None):
            due = {
                letter
                for letter in EXPECTED_DEAD_LETTERS
                if letter[0] == shard and is_reached(letter[1], by=through)
            }
            assert due <= set(dead_letters(storage))
            passed.append(due)
            super().commit(stream, shard, through, seen_ms)

    source = MemorySource(STREAM, stream(), batch_records_max=2)
    pipeline(source, [LakeSink(storage)], Checkpoints()).run()

    assert any(passed)
    assert dead_letters(storage) == EXPECTED_DEAD_LETTERS
