"""dastream reads, keeps and watches Database Activity Streams."""

from dastream.decode import decode_record
from dastream.errors import DastreamError
from dastream.event import Event
from dastream.record import Position, Record

__all__ = ["DastreamError", "Event", "Position", "Record", "__version__", "decode_record"]

__version__ = "0.1.0"
