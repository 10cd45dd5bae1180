"""Checkpoints in a DynamoDB table, for a consumer that has no disk of its own.

A stream is one item. Each consumer that begins with a stream takes its next generation, and every
write is conditional on that: as soon as a second consumer has begun, the first one stops at its
next commit. So nobody needs a clock or a lease, and a commit is one UpdateItem.

Source of expressions and limits: Amazon DynamoDB API reference, UpdateItem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from dastream.checkpoint.contract import Beginning
from dastream.clients import CallError, call, open_client
from dastream.errors import ConfigError, DastreamError, ServiceError
from dastream.settings import split_url

__all__ = ["DynamodbCheckpoints", "open"]

KEY = "stream"
"""The table's only key: the stream's name, a string."""


def open(url: str) -> DynamodbCheckpoints:
    """The store at `dynamodb://TABLE[?region=R]`. Raises ConfigError."""
    parts = split_url(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if not parts.netloc or parts.path.strip("/") or options.keys() - {"region"}:
        raise ConfigError(
            "state: the URL is not dynamodb://TABLE",
            hint="write dynamodb://my-table, with ?region= if need be",
        )
    region = options.get("region")
    return DynamodbCheckpoints(open_client("dynamodb", region=region), parts.netloc)


@dataclass(slots=True)
class _Item:
    """What the table holds of a stream. Nobody else changes it while the generation is ours."""

    generation: str
    beginning: Beginning | None
    progress: dict[str, str] = field(default_factory=dict)
    seen_ms: dict[str, int] = field(default_factory=dict)


class DynamodbCheckpoints:
    """Progress in the items of a table. `client` is boto3's.

    Reading or writing of a stream for the first time takes its generation. Raises ConfigError if
    the table is none for checkpoints, ServiceError if it cannot be reached, and if another
    consumer has taken the stream since.
    """

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table
        self._items: dict[str, _Item] = {}

    def beginning(self, stream: str) -> Beginning | None:
        return self._item(stream).beginning

    def begin(self, stream: str, beginning: Beginning, *, aside: str) -> None:
        # In this order it can be done again after a crash in between.
        item = self._item(stream)
        before = item.beginning
        is_same = before is not None and before.created_ms == beginning.created_ms
        if item.progress and not is_same:
            self._item(aside).progress = dict(item.progress)
            self._update(aside, "SET shards = :shards", {":shards": _map(item.progress)})
        progress = item.progress if is_same else {}
        values = {f":{name}": {"N": str(value)} for name, value in beginning._asdict().items()}
        expression = ", ".join(f"{name} = :{name}" for name in beginning._fields)
        self._update(
            stream, f"SET {expression}, shards = :shards", values | {":shards": _map(progress)}
        )
        item.beginning, item.progress = beginning, progress

    def progress(self, stream: str) -> Mapping[str, str]:
        return dict(self._item(stream).progress)

    def commit(
        self, stream: str, shard: str, through: str, seen_ms: Mapping[str, int] | None = None
    ) -> None:
        item = self._item(stream)
        seen = item.seen_ms if seen_ms is None else dict(seen_ms)
        values = {":through": {"S": through}, ":seen": _numbers(seen)}
        expression = "SET shards.#shard = :through, seen = :seen"
        self._update(stream, expression, values, {"#shard": shard})
        item.progress[shard], item.seen_ms = through, seen

    def seen_ms(self, stream: str) -> Mapping[str, int]:
        return dict(self._item(stream).seen_ms)

    def close(self) -> None:
        """A generation needs not be given back."""
        self._client.close()

    def _item(self, stream: str) -> _Item:
        if stream not in self._items:
            self._items[stream] = self._take(stream)
        return self._items[stream]

    def _take(self, stream: str) -> _Item:
        """Take a stream's next generation, and read what its last consumer left."""
        try:
            answer = self._call(
                stream,
                UpdateExpression="ADD generation :one SET shards = if_not_exists(shards, :none)",
                ExpressionAttributeValues={":one": {"N": "1"}, ":none": _map({})},
                ReturnValues="ALL_NEW",
            )
        except CallError as error:
            raise _cannot_begin(self._table, error) from None
        found = answer["Attributes"]
        beginning = None
        if "lost_ms" in found:
            beginning = Beginning(*(int(found[name]["N"]) for name in Beginning._fields))
        progress = {shard: through["S"] for shard, through in found["shards"]["M"].items()}
        seen = found.get("seen", _numbers({}))["M"].items()
        seen_ms = {instance: int(arrival_ms["N"]) for instance, arrival_ms in seen}
        return _Item(found["generation"]["N"], beginning, progress, seen_ms)

    def _update(
        self,
        stream: str,
        expression: str,
        values: dict[str, Any],
        names: Mapping[str, str] | None = None,
    ) -> None:
        """Change a stream's item if its generation is still ours."""
        try:
            self._call(
                stream,
                UpdateExpression=expression,
                ConditionExpression="generation = :ours",
                ExpressionAttributeValues=values | {":ours": {"N": self._item(stream).generation}},
                **({"ExpressionAttributeNames": names} if names else {}),
            )
        except CallError as error:
            raise _cannot_commit(self._table, error) from None

    def _call(self, stream: str, **update: Any) -> Any:
        key = {KEY: {"S": stream}}
        return call(self._client.update_item, TableName=self._table, Key=key, **update)


def _map(progress: Mapping[str, str]) -> dict[str, Any]:
    return {"M": {shard: {"S": through} for shard, through in progress.items()}}


def _numbers(seen_ms: Mapping[str, int]) -> dict[str, Any]:
    return {"M": {instance: {"N": str(arrival_ms)} for instance, arrival_ms in seen_ms.items()}}


def _cannot_begin(table: str, error: CallError) -> DastreamError:
    if error.code in {"ResourceNotFoundException", "ValidationException"}:
        return ConfigError(
            f"state: there is no table {table} for checkpoints ({error.code})",
            hint=f"create one: aws dynamodb create-table --table-name {table}"
            f" --attribute-definitions AttributeName={KEY},AttributeType=S"
            f" --key-schema AttributeName={KEY},KeyType=HASH --billing-mode PAY_PER_REQUEST",
        )
    return _out_of_reach(table, error)


def _cannot_commit(table: str, error: CallError) -> ServiceError:
    if error.code == "ConditionalCheckFailedException":
        return ServiceError(
            "state: another consumer has taken this stream over",
            hint="a stream has one consumer: stop this one for good, or the other one; what this "
            "one has delivered since its last commit, the other one finds",
        )
    return _out_of_reach(table, error)


def _out_of_reach(table: str, error: CallError) -> ServiceError:
    return ServiceError(
        f"state: cannot write to table {table} ({error.code})",
        hint=error.hint
        or "check the region, and that this role has dynamodb:UpdateItem on the table",
    )
