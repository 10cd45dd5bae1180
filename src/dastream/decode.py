"""Record in, events out: the one function that every entry point calls."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import repeat

import msgspec

from dastream.errors import EnvelopeError, PayloadError
from dastream.event import Event, Origin
from dastream.format import engines, envelope, message, payload
from dastream.format.envelope import Envelope
from dastream.format.limits import Limits
from dastream.format.payload import Payload
from dastream.keys import Unwrap, encryption_context, resource_id
from dastream.record import Record
from dastream.settings import Settings

__all__ = ["Decoder", "decode_record"]


def decode_record(record: Record, unwrap: Unwrap, *, resource_id: str | None = None) -> list[Event]:
    """Decode one record into its events, in the order of the entries, heartbeats included.

    `unwrap` gives the data key, see `dastream.keys`. `resource_id` tells whose stream it is where
    the record's position does not, or is not `aws-rds-das-…`. Raises DecodeError if the record
    will never decode, and KeyServiceError if KMS could not be asked.
    """
    return Decoder(unwrap, resource_id=resource_id)(record)


class Decoder:
    """`decode_record` with its settings held: unwrap, resource id, bounds on what it takes."""

    def __init__(
        self,
        unwrap: Unwrap,
        *,
        resource_id: str | None = None,
        limits: Limits = Limits(),  # noqa: B008 - immutable
    ) -> None:
        self._unwrap = unwrap
        self._context = encryption_context(resource_id) if resource_id else {}
        self._limits = limits

    @classmethod
    def from_settings(cls, settings: Settings, unwrap: Unwrap) -> Decoder:
        """A decoder as the settings say."""
        limits = Limits(**{name: getattr(settings, name) for name in Limits._fields})
        return cls(unwrap, resource_id=settings.resource_id, limits=limits)

    def __call__(self, record: Record) -> list[Event]:
        outer = envelope.parse(record.data, self._limits)
        data_key = self._unwrap(outer.key, self._context_of(record))
        opened = message.open_message(outer.message, data_key, limits=self._limits)
        inner = payload.parse(payload.gunzip(opened.plaintext, self._limits), self._limits)
        more = _more(outer, inner, self._limits) if outer.more or inner.more else None
        return _events(opened.id.hex(), inner, _origin(record, outer, inner, more))

    def _context_of(self, record: Record) -> Mapping[str, str]:
        return (
            _stream_context(record.position.stream) or self._context
            if record.position
            else self._context
        )


@lru_cache(maxsize=64)
def _stream_context(stream: str) -> Mapping[str, str] | None:
    """The encryption context that the stream's name tells."""
    owner = resource_id(stream)
    return encryption_context(owner) if owner else None


def _origin(record: Record, outer: Envelope, inner: Payload, more: bytes | None) -> Origin:
    return Origin(
        engines.recognise(outer.version, inner.entries),
        inner.cluster_id,
        inner.instance_id,
        record.position,
        record.arrival_ms,
        more,
    )


def _events(message_id: str, inner: Payload, origin: Origin) -> list[Event]:
    ids = [f"{message_id}-{index}" for index in range(len(inner.entries))]
    if inner.plain_members is None:
        return [Event(id, entry, origin) for id, entry in zip(ids, inner.entries, strict=True)]
    return list(map(Event, ids, inner.entries, repeat(origin), inner.plain_members))


def _more(outer: Envelope, inner: Payload, limits: Limits) -> bytes:
    """Members that no known version has, kept under the layer they came from.

    Each event is delivered with them, and nobody authenticates those of the envelope.
    """
    layers = {"envelope": outer.more, "payload": inner.more}
    more = msgspec.json.encode({layer: members for layer, members in layers.items() if members})
    if len(more) * len(inner.entries) > limits.payload_bytes_max:
        kind, layer = (EnvelopeError, "envelope") if outer.more else (PayloadError, "payload")
        raise kind(
            f"{layer}: unknown members, once for each event, are more than "
            f"{limits.payload_bytes_max} bytes",
            hint="raise DASTREAM_PAYLOAD_BYTES_MAX if the record is known to be good",
        )
    return more
