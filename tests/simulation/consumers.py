"""The consumer as `dastream run` puts it together, every call of its outside a fault point."""

from fault_points import FaultyCheckpoints, FaultyClient, FaultyStorage, faulty_unwrap
from outsides import open_unwrap

from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.keys import CachingUnwrap
from dastream.pipeline import Pipeline
from dastream.sinks.lake import LakeSink
from dastream.sources import BatchLimits
from dastream.sources.kinesis import KinesisSource
from dastream.transforms import open_transforms
from support import CLUSTER, STREAM


def consumer(outside, world, chance, *, once):
    """A pipeline with settings of its own, as they may change with each start.

    `world` has what outlives the process: clock, kinesis, lakes, ledger and checkpoints.
    """
    return Pipeline(
        _source(outside, world, chance, once=once),
        _deliverer(outside, world, chance),
        FaultyCheckpoints(world.checkpoints.next_generation(), outside),
    )


def _deliverer(outside, world, chance):
    transforms = chance.choice(["default", "default", "none"])
    world.ledger.transforms.add(transforms)
    unwrap = open_unwrap(is_moody=chance.random() < 0.5)
    keys = CachingUnwrap(faulty_unwrap(unwrap, outside), keys_max=2, clock=world.clock)
    return Deliverer(
        Decoder(keys),
        open_transforms(transforms),
        [
            LakeSink(FaultyStorage(lake, outside), chance.choice(world.formats))
            for lake in world.lakes
        ],
        resource_id=CLUSTER,
        event_bytes_max=chance.choice([1, 2000, 1 << 20]),
    )


def _source(outside, world, chance, *, once):
    limits = BatchLimits(
        flush_bytes_max=chance.choice([1, 2000, 5000, 1 << 20]),
        flush_age_seconds_max=chance.choice([0.0, 1.0, 60.0]),
    )
    return KinesisSource(
        FaultyClient(world.kinesis, outside),
        STREAM,
        start_ms=world.start_ms,
        once=once,
        limits=limits,
        clock=world.clock,
        sleep=world.clock.advance,
    )
