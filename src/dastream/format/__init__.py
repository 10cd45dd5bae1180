"""The published format of an activity stream. Pure: bytes and values, no I/O, no clock."""
