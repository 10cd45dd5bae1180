"""Kinesis Data Streams for the local endpoint: its own data plane, on SQLite.

::

    application   HTTP and JSON
    requests      what may be asked: shapes and their limits
    replies       what is answered
    streams       create, describe, list, delete, retention, tags
    shards        list, split, merge
    records       put, iterators, get
    tokens        sequence numbers, iterators and page tokens
    store         what is kept, and in which order it was put
    throttle      a shard's share of a second, if it is to be limited

Why it is not moto's: docs/adr/0007-local-kinesis.md.
"""

from dastream.local.kinesis.application import Kinesis

__all__ = ["Kinesis"]
