"""Replay: dead letters through decode again, and what opens now into a sink.

Letters lie in objects that never change, so a replay keeps no progress of its own: what was
delivered is told by the sink, under names made from the letters themselves (docs/adr/0010). What
does not decode now either stays where it is, and is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from hashlib import sha256

from dastream.decode import Decoder
from dastream.delivery import EVENT_BYTES_MAX, memory_bytes
from dastream.errors import ConfigError, DecryptError, KeyServiceError, RecordError, SinkError
from dastream.event import Event
from dastream.keys import resource_id
from dastream.lake.bundles import Bundle, Letter, bundles, numbers, ranges
from dastream.lake.letters import LetterObject, find_letters, parse_letters
from dastream.lake.reader import DamageError, read_lines
from dastream.lake.recent_ids import RecentIds
from dastream.record import EventBatch, Record, digest
from dastream.sinks import Sink
from dastream.transforms import NamedTransform, apply

__all__ = ["Replay", "Report"]

REFUSED_LETTERS_MAX = 100
"""Letters of a given resource id that do not open, with none that does, before a replay stops."""

IDS_MAX = 500_000
"""Records remembered, so that of several copies one is delivered; they take about 60 MB."""


@dataclass(slots=True)
class Report:
    """What became of the letters; `letters` is the sum of delivered, held, copies, undeliverable.

    `records` were delivered now, as `events`, and what transforms `dropped`, by their names;
    `held` were delivered by an earlier replay; `copies` are of records that were met before.
    `undeliverable` counts letters by error, `reasons` has the first message of each error.
    `damages` are lines and objects that could not be read as dead letters.
    """

    objects: int = 0
    letters: int = 0
    records: int = 0
    events: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    held: int = 0
    copies: int = 0
    undeliverable: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    damages: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left."""
        return not self.undeliverable and not self.damages


@dataclass(slots=True)
class _Pass:
    """Letters of a bundle that decode, delivered as one batch. `numbers` count from 1."""

    numbers: list[int] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    event_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


class Replay:
    """Brings dead letters through decode and transforms into a sink, each record once.

    `decoder_of` gives the decoder for a resource id. `given` is the resource id of the letters
    whose stream does not tell theirs. What cannot be read is told to `on_damage`, by key and
    reason.
    """

    def __init__(
        self,
        decoder_of: Callable[[str], Decoder],
        transforms: Sequence[NamedTransform],
        sink: Sink,
        *,
        given: str | None = None,
        on_damage: Callable[[str, str], None],
    ) -> None:
        self.report = Report()
        self._decoder_of = decoder_of
        self._transforms = transforms
        self._sink = sink
        self._given = given
        self._on_damage = on_damage
        self._met = RecentIds[bytes](IDS_MAX)
        self._refused = 0
        self._has_opened = False

    def __call__(self, url: str) -> None:
        """Replay an object, or all objects of dead letters below a place.

        Raises ConfigError if there are none, or a letter's resource id is not known, and
        ServiceError, also if no letter of the given resource id opens.
        """
        found = self.report.objects
        for source in find_letters(url):
            self.report.objects += 1
            self._replay_object(source)
        if self.report.objects == found:
            raise ConfigError(
                "replay: there are no dead letters",
                hint="give an object, or a place with dead-letter/, processing-failed/ or "
                "aws/lambda/ below it",
            )

    def _replay_object(self, source: LetterObject) -> None:
        """The bundle in which an object turns out to be damaged is left out as a whole."""
        try:
            for bundle in bundles(self._letters(source)):
                self._replay_bundle(bundle)
        except DamageError as error:
            self._tell(source, str(error))

    def _letters(self, source: LetterObject) -> Iterator[Letter]:
        for number, line in read_lines(source.storage, source.item):
            try:
                for record in parse_letters(line):
                    yield Letter(record, self._owner(record, source))
            except DamageError as error:
                self._tell(source, f"line {number}: {error}")

    def _owner(self, record: Record, source: LetterObject) -> str:
        told = resource_id(record.position.stream) if record.position else None
        owner = (
            told or self._given or source.owner
        )  # a folder may be named by a wrong --resource-id
        if owner is None:
            raise ConfigError(
                "replay: the letters do not tell whose stream they are from",
                hint="give --resource-id as cluster-… or db-…",
            )
        return owner

    def _replay_bundle(self, bundle: Bundle) -> None:
        left = dict(enumerate(bundle.records, start=1))
        number_of_pass = 1
        while extent := self._sink.extent(bundle.name(number_of_pass)):
            earlier = {number: left.pop(number) for number in _listed(extent.through, left.keys())}
            if extent.is_whole:
                self._leave_out(earlier.values())
            else:
                self._complete(bundle, number_of_pass, earlier)
            number_of_pass += 1
        self._deliver_new(bundle, number_of_pass, left)

    def _leave_out(self, held: Collection[Record]) -> None:
        """Letters that an earlier pass delivered; copies of them may come."""
        for record in held:
            self._met.add(_id(record))
        self.report.letters += len(held)
        self.report.held += len(held)

    def _complete(self, bundle: Bundle, number_of_pass: int, letters: Mapping[int, Record]) -> None:
        """Deliver a pass again of which the sink has a part only, such as the other format."""
        this = _Pass()
        for number, record in letters.items():
            self.report.letters += 1
            self._add(number, Letter(record, bundle.owner), this)
        if len(this.numbers) < len(letters):
            raise SinkError(
                "sink: a replayed batch is held in part, and not all of it decodes now",
                hint="with other letters it would be another batch: replay in the format that is "
                "there, or once all of it decodes again",
            )
        self._deliver(bundle, number_of_pass, this)

    def _deliver_new(
        self, bundle: Bundle, number_of_pass: int, letters: Mapping[int, Record]
    ) -> None:
        """Deliver what decodes of letters that no pass has yet."""
        this = _Pass()
        for number, record in letters.items():
            self.report.letters += 1
            if _id(record) in self._met:
                self.report.copies += 1
                continue
            self._add(number, Letter(record, bundle.owner), this)
            if this.event_bytes >= EVENT_BYTES_MAX:
                self._deliver(bundle, number_of_pass, this)
                this, number_of_pass = _Pass(), number_of_pass + 1
        self._deliver(bundle, number_of_pass, this)

    def _add(self, number: int, letter: Letter, this: _Pass) -> None:
        """Decode a letter into a pass, or count it as undeliverable."""
        try:
            events = apply(self._transforms, self._decoded(letter), this.dropped)
        except RecordError as error:
            name = type(error).__name__
            self.report.undeliverable[name] += 1
            self.report.reasons.setdefault(name, str(error))
            return
        self._met.add(_id(letter.record))
        this.numbers.append(number)
        this.records.append(letter.record)
        this.events += events
        this.event_bytes += memory_bytes(events)

    def _decoded(self, letter: Letter) -> list[Event]:
        is_given = letter.owner == self._given
        try:
            events = self._decoder_of(letter.owner)(letter.record)
        except DecryptError as error:
            self._refused += is_given
            if self._refused >= REFUSED_LETTERS_MAX and not self._has_opened:
                raise KeyServiceError(
                    f"decrypt: none of {self._refused} letters opened: {error}",
                    hint="the resource id or the KMS key is not that of these letters; if it is, "
                    "replay other objects first",
                ) from None
            raise
        self._has_opened |= is_given
        return events

    def _deliver(self, bundle: Bundle, number_of_pass: int, this: _Pass) -> None:
        if this.events:
            self._sink.deliver(
                EventBatch(
                    name=bundle.name(number_of_pass),
                    through=ranges(this.numbers),
                    records=tuple(this.records),
                    digest=digest(this.records),
                    events=tuple(this.events),
                    dropped=this.dropped,
                    dead_letters=(),
                )
            )
        self.report.records += len(this.records)
        self.report.events += len(this.events)
        self.report.dropped += this.dropped

    def _tell(self, source: LetterObject, reason: str) -> None:
        self.report.damages += 1
        self._on_damage(source.item.key, reason)


def _listed(through: str, left: AbstractSet[int]) -> Sequence[int]:
    """The letters of a pass, of those that were left. Raises SinkError if it is no such pass."""
    try:
        listed = numbers(through)
    except ValueError:
        listed = set()
    if not listed or listed - left:
        raise SinkError("sink: a replayed batch is not as dastream writes it")
    return sorted(listed)


def _id(record: Record) -> bytes:
    """What copies of a record have in common; a name may be guessed, a SHA-256 not."""
    return sha256(record.data).digest()[:16]
