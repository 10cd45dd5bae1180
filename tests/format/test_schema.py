"""What was published of the columns stays: they are added, never changed."""

from dastream.event import SCHEMA_VERSION, Columns

VERSION_1 = {
    "start_time_us": "int | None",
    "end_time_us": "int | None",
    "log_time_us": "int | None",
    "user": "str | None",
    "database": "str | None",
    "command": "str | None",
    "command_class": "str | None",
    "is_auxiliary": "bool",
    "object_name": "str | None",
    "object_type": "str | None",
    "object_schema": "str | None",
    "object_detail": "str | None",
    "statement": "str | None",
    "params": "tuple[str | None, ...]",
    "row_count": "int | None",
    "error": "str | None",
    "exit_code": "str | None",
    "succeeded": "bool | None",
    "client_application": "str | None",
    "remote_host": "str | None",
    "remote_port": "str | None",
    "session_id": "str | None",
    "statement_id": "str | None",
    "substatement_id": "int | None",
    "statement_part": "int | None",
    "transaction_id": "str | None",
    "pid": "int | None",
    "server_host": "str | None",
    "server_version": "str | None",
    "service_name": "str | None",
    "net_protocol": "str | None",
    "db_protocol": "str | None",
    "misfits": "tuple[str, ...]",
}
ADDED = {1: VERSION_1}
"""The columns that each schema version added, with their types. Nothing here is ever edited."""


def test_columns_of_every_schema_version_are_there_and_no_others():
    assert dict(Columns.__annotations__) == {
        name: type for columns in ADDED.values() for name, type in columns.items()
    }


def test_each_addition_is_a_schema_version():
    assert list(ADDED) == list(range(1, SCHEMA_VERSION + 1))


def test_every_column_has_a_value_for_entries_that_do_not_fill_it():
    assert Columns() == Columns(
        **dict.fromkeys(VERSION_1) | {"params": (), "misfits": (), "is_auxiliary": False}
    )
