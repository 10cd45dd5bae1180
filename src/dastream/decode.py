"""Record in, events out: the one function that every entry point calls."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dastream.event import Event, Origin
from dastream.format import engines, envelope, message, payload
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
    """`decode_record` with its settings held: unwrap, resource id, bound on a payload's size."""

    def __init__(
        self,
        unwrap: Unwrap,
        *,
        resource_id: str | None = None,
        payload_bytes_max: int = payload.PAYLOAD_BYTES_MAX,
    ) -> None:
        self._unwrap = unwrap
        self._context = encryption_context(resource_id) if resource_id else {}
        self._payload_bytes_max = payload_bytes_max

    @classmethod
    def from_settings(cls, settings: Settings, unwrap: Unwrap) -> Decoder:
        """A decoder as the settings say."""
        return cls(
            unwrap,
            resource_id=settings.resource_id,
            payload_bytes_max=settings.payload_bytes_max,
        )

    def __call__(self, record: Record) -> list[Event]:
        outer = envelope.parse(record.data)
        data_key = self._unwrap(outer.key, self._context_of(record))
        opened = message.open_message(outer.message, data_key)
        inner = payload.parse(payload.gunzip(opened.plaintext, bytes_max=self._payload_bytes_max))
        entries = [bytes(raw) for raw in inner.entries]
        origin = Origin(
            engine=engines.recognise(outer.version, entries),
            cluster_id=inner.cluster_id,
            instance_id=inner.instance_id,
            position=record.position,
            arrival_ms=record.arrival_ms,
            more=_more(outer.more, inner.more),
        )
        message_id = opened.id.hex()
        return [Event(f"{message_id}-{i}", entry, origin) for i, entry in enumerate(entries)]

    def _context_of(self, record: Record) -> Mapping[str, str]:
        owner = resource_id(record.position.stream) if record.position else None
        return encryption_context(owner) if owner else self._context


def _more(outer: dict[str, msgspec.Raw], inner: dict[str, msgspec.Raw]) -> bytes | None:
    """Members that no known version has, kept under the layer they came from."""
    layers = {"envelope": outer, "payload": inner}
    unknown = {layer: members for layer, members in layers.items() if members}
    return msgspec.json.encode(unknown) if unknown else None
