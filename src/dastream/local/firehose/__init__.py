"""A Firehose delivery stream on this machine: Kinesis → transformation → objects in S3.

No local peer of Firehose that we know buffers, transforms, retries and keeps failed records as
the service does, so this one does. It reads (`reader`), transforms (`transformation`) and writes
(`output`) in parts that know nothing of each other; `stream` joins them in one thread.

Source of what it does, where a module names no other: Amazon Data Firehose Developer Guide,
pages "Transform source data", "Handle failure in data transformation", "Configure Amazon S3
object name format". What is different here: it starts at the oldest record of the source, where
the service starts at the latest, it writes failed records together with the others, and its
hints may be shorter than the service allows.
"""

from dastream.local.firehose.stream import Counters, DeliveryStream

__all__ = ["Counters", "DeliveryStream"]
