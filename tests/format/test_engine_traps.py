"""The traps between the engines: one meaning in a column, however each engine writes it.

A test for each: what the published entries and the field tables of the guides show.
"""

import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dastream.event import Columns, Event, Origin
from dastream.format.engines import ENGINES
from entries import BY_ENGINE, mysql, mysql_auxiliary, oracle, postgresql, sqlserver
from support import compact

LOG_TIME_US = 1_795_418_884_940_668


def columns_of(name, members):
    return ENGINES[name].columns(compact(members))


def without(members, *names):
    return {name: value for name, value in members.items() if name not in names}


@pytest.mark.parametrize(
    ("name", "members", "succeeded", "exit_code"),
    [
        ("aurora-postgresql", postgresql(), True, None),
        ("aurora-postgresql", without(postgresql(), "errorMessage"), True, None),  # version 1.0
        ("aurora-postgresql", postgresql(exitCode="0"), True, None),
        ("aurora-postgresql", postgresql(exitCode=0), True, None),
        ("aurora-postgresql", postgresql(exitCode="42P01", errorMessage="no t"), False, "42P01"),
        ("aurora-postgresql", postgresql(exitCode="42P01"), False, "42P01"),
        ("aurora-postgresql", postgresql(exitCode=1), False, "1"),
        ("aurora-postgresql", postgresql(errorMessage="canceled"), False, None),
        ("aurora-postgresql", postgresql(command=None), None, None),
        ("aurora-mysql", mysql(), True, None),
        ("aurora-mysql", mysql(exitCode=0), True, None),
        ("aurora-mysql", mysql(exitCode="1146", errorMessage="no table"), False, "1146"),
        ("aurora-mysql", mysql(exitCode="1045"), False, "1045"),
        ("aurora-mysql", mysql(errorMessage="Lost connection"), False, None),
        ("aurora-mysql", mysql(command="FAILED_CONNECT"), False, None),
        ("aurora-mysql", mysql(exitCode=""), None, None),
        ("aurora-mysql", mysql_auxiliary(), None, None),
        ("oracle", oracle(), True, None),
        ("oracle", oracle(exitCode="0"), True, None),
        ("oracle", oracle(exitCode=1017), False, "1017"),
        ("oracle", oracle(exitCode=None), None, None),
        ("sqlserver", sqlserver(), True, None),
        ("sqlserver", sqlserver(exitCode=0), False, None),
        ("sqlserver", sqlserver(exitCode="0"), False, None),
        ("sqlserver", sqlserver(exitCode=None), None, None),
        ("sqlserver", sqlserver(exitCode=7), None, None),
    ],
)
def test_success_is_undone_of_the_engines_conventions(name, members, succeeded, exit_code):
    columns = columns_of(name, members)

    assert (columns.succeeded, columns.exit_code) == (succeeded, exit_code)


@pytest.mark.parametrize("name", BY_ENGINE)
def test_heartbeat_neither_worked_nor_failed(name):
    assert columns_of(name, {"type": "heartbeat"}) == Columns()


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("aurora-postgresql", postgresql(logTime="2026-11-23 07:28:04.940668+00")),
        ("aurora-mysql", mysql(logTime="2026-11-23 07:28:04.940668+00")),
        ("oracle", oracle(logTime="2026-11-23 07:28:04.940668")),
        ("sqlserver", sqlserver(logTime="2026-11-23 07:28:04.9406689+00")),
    ],
)
def test_log_time_is_utc_microseconds_with_or_without_offset_and_with_seven_digits(name, members):
    assert columns_of(name, members).log_time_us == LOG_TIME_US


@pytest.mark.parametrize("name", BY_ENGINE)
@pytest.mark.parametrize("digits", range(10))
def test_fraction_may_have_zero_to_nine_digits(name, digits):
    fraction = "." + "940668123"[:digits] if digits else ""
    log_time = f"2026-11-23 07:28:04{fraction}"

    found = {
        columns_of(name, BY_ENGINE[name](logTime=log_time + offset)).log_time_us
        for offset in ("", "+00", "+00:00", "Z")
    }

    assert found == {1_795_418_884_000_000 + int("940668"[:digits].ljust(6, "0"))}


@pytest.mark.parametrize(
    ("name", "members", "expected"),
    [
        ("aurora-postgresql", postgresql(statementId=6), "6"),
        ("aurora-mysql", mysql(statementId=65_469_218), "65469218"),
        ("oracle", oracle(statementId=43), "43"),
        ("sqlserver", sqlserver(statementId="0x0123456789abcdef"), "0x0123456789abcdef"),
    ],
)
def test_statement_id_is_text_whether_number_or_hex(name, members, expected):
    assert columns_of(name, members).statement_id == expected


@pytest.mark.parametrize(
    ("name", "members", "expected"),
    [
        ("aurora-postgresql", postgresql(sessionId="5ce73c6f.7e64"), "5ce73c6f.7e64"),
        ("aurora-mysql", mysql(sessionId="725118"), "725118"),
        ("oracle", oracle(sessionId=987_654_321), "987654321"),
        ("sqlserver", sqlserver(sessionId=84), "84"),
    ],
)
def test_session_id_is_text_whether_text_or_number(name, members, expected):
    assert columns_of(name, members).session_id == expected


def test_session_id_of_a_failed_login_to_sql_server_is_null():
    assert (
        columns_of("sqlserver", sqlserver(command="LOGIN FAILED", sessionId=0)).session_id is None
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("aurora-postgresql", ["424", "-2770"], ("424", "-2770")),
        ("aurora-postgresql", [], ()),
        ("aurora-mysql", None, ()),
        ("oracle", ["A", None], ("A", None)),
        ("oracle", [], ()),
        ("sqlserver", None, ()),
        ("sqlserver", "", ()),
    ],
)
def test_params_are_a_list_also_where_there_is_null(name, value, expected):
    columns = columns_of(name, BY_ENGINE[name](paramList=value))

    assert (columns.params, columns.misfits) == (expected, ())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("aurora-postgresql", "34534", "34534"),
        ("aurora-mysql", "11054", "11054"),
        ("oracle", "25440", "25440"),
        ("oracle", None, None),
        ("sqlserver", None, None),
        ("sqlserver", 1433, "1433"),
    ],
)
def test_remote_port_is_text_or_null(name, value, expected):
    assert columns_of(name, BY_ENGINE[name](remotePort=value)).remote_port == expected


@pytest.mark.parametrize("name", BY_ENGINE)
@pytest.mark.parametrize("empty", [None, ""])
def test_empty_value_is_null_whether_null_or_blank(name, empty):
    members = dict.fromkeys(BY_ENGINE[name](), empty) | {"engineNativeAuditFields": {}}
    blank, nothing = columns_of(name, members), columns_of(name, {})

    assert blank == nothing
    assert blank.misfits == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("aurora-mysql", "0"), ("oracle", "0000000000000000"), ("sqlserver", "0")],
)
def test_transaction_id_of_zeros_is_null(name, value):
    assert columns_of(name, BY_ENGINE[name](transactionId=value)).transaction_id is None


def test_object_type_of_oracle_is_the_schema():
    columns = columns_of("oracle", oracle(objectType="SALES", objectName="ORDERS"))

    assert (columns.object_type, columns.object_schema) == (None, "SALES")
    assert columns.object_name == "ORDERS"


@pytest.mark.parametrize(
    ("object_name", "schema"),
    [
        ("public.orders", "public"),
        ('"My Shop"."a.b"', "My Shop"),
        ('"a""b".t', 'a"b'),
        ("shop.f(integer, pg_catalog.text)", "shop"),
        ("orders", None),
        ("a trigger on public.orders", None),
        ("(public.a AS public.b)", None),
        ('"no end', None),
        (None, None),
        ("", None),
        (".", None),
    ],
)
def test_object_schema_of_postgresql_stands_before_the_dot(object_name, schema):
    columns = columns_of("aurora-postgresql", postgresql(objectName=object_name))

    assert (columns.object_schema, columns.object_type) == (schema, "TABLE")
    assert columns.object_name == (object_name or None)


@pytest.mark.parametrize(
    ("native", "schema", "misfits"),
    [
        ({"schema_name": "dbo"}, "dbo", ()),
        ({"schema_name": ""}, None, ()),
        ({}, None, ()),
        (None, None, ()),
        ({"schema_name": 5}, None, ("engineNativeAuditFields",)),
        (5, None, ("engineNativeAuditFields",)),
    ],
)
def test_object_schema_of_sql_server_is_among_the_native_fields(native, schema, misfits):
    columns = columns_of("sqlserver", sqlserver(engineNativeAuditFields=native))

    assert (columns.object_schema, columns.misfits) == (schema, misfits)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("aurora-postgresql", "172.31.3.192"),
        ("aurora-mysql", "shop-node-1"),
        ("oracle", "10.0.0.1"),
    ],
)
def test_server_host_is_address_or_name_as_the_engine_has_it(name, value):
    assert columns_of(name, BY_ENGINE[name](serverHost=value)).server_host == value


def test_type_is_missing_in_oracle_and_the_event_is_activity_all_the_same():
    assert "type" not in oracle()
    assert Event("id-0", compact(oracle()), Origin(ENGINES["oracle"])).kind == "activity"


def test_login_to_postgresql_is_told_by_its_command_since_the_class_is_misc():
    columns = columns_of(
        "aurora-postgresql", postgresql(None, command="CONNECT") | {"class": "MISC"}
    )

    assert (columns.command, columns.command_class) == ("CONNECT", "MISC")
    assert columns.statement is None


def test_main_and_auxiliary_events_of_mysql_are_told_apart_and_belong_together():
    main = columns_of("aurora-mysql", mysql("RENAME TABLE a TO b"))
    auxiliary = columns_of("aurora-mysql", mysql_auxiliary(command="RENAME", commandText="b"))

    assert (main.is_auxiliary, auxiliary.is_auxiliary) == (False, True)
    pair = ("pid", "statement_id", "session_id", "start_time_us")
    assert [getattr(main, name) for name in pair] == [getattr(auxiliary, name) for name in pair]


def test_text_of_an_auxiliary_event_is_no_statement():
    columns = columns_of("aurora-mysql", mysql_auxiliary(command="RENAME", commandText="b"))

    assert (columns.statement, columns.object_detail) == (None, "b")


def test_outcome_and_rows_come_from_the_main_event_only():
    main = columns_of("aurora-mysql", mysql(rowCount=0))
    auxiliary = columns_of("aurora-mysql", mysql_auxiliary(rowCount=0, exitCode=""))

    assert (main.succeeded, main.row_count) == (True, 0)
    assert (auxiliary.succeeded, auxiliary.row_count) == (None, None)


@pytest.mark.parametrize("name", sorted(set(BY_ENGINE) - {"aurora-mysql"}))
def test_no_event_of_another_engine_is_auxiliary(name):
    assert columns_of(name, BY_ENGINE[name](**{"class": "AUX"})).is_auxiliary is False


@pytest.mark.parametrize(
    ("written", "statement"),
    [
        (r"SELECT 1", r"SELECT 1"),
        (r"like \'a%\'", r"like 'a%'"),
        (r"like \\'a%\\'", r"like 'a%'"),
        (r"SELECT \'it\\'s\'", r"SELECT 'it\'s'"),  # the SQL has a backslash of its own
        (r"SELECT \'a\\\'", r"SELECT 'a\\'"),
        (r"SELECT \'\'", r"SELECT ''"),
        (r"SELECT \"a\", 'b'", r"""SELECT "a", 'b'"""),
        (r"SELECT 'it\'s'", r"SELECT 'it\'s'"),  # nothing was escaped
        (r"SELECT '\\n'", r"SELECT '\\n'"),
        (r"path \\srv", r"path \\srv"),
    ],
)
def test_quotes_of_mysql_are_unescaped_as_deep_as_all_of_them_are(written, statement):
    assert columns_of("aurora-mysql", mysql(written)).statement == statement


def test_many_backslashes_take_no_time():
    text = "\\" * 1_000_000 + "'" + "\\" * 1_000_000

    assert columns_of("aurora-mysql", mysql(text)).statement == "'" + "\\" * 1_000_000


@pytest.mark.parametrize("piece", [r"\'", r"\'ab", r"\\'\'", r"\"\'"])
def test_statement_of_nothing_but_quotes_takes_no_more_memory_than_a_few_of_it(piece):
    entry = compact(mysql(piece * 1_000_000))

    tracemalloc.start()
    try:
        statement = ENGINES["aurora-mysql"].columns(entry).statement
        assert tracemalloc.get_traced_memory()[1] < 5 * len(entry)
    finally:
        tracemalloc.stop()
    assert len(statement) < len(piece) * 1_000_000


def without_backslashes(sql, quote):
    depth = min((len(run) for run in re.findall(rf"(\\*){quote}", sql)), default=0)
    return sql.replace("\\" * depth + quote, quote)


pieces = st.sampled_from(["\\", "\\\\", "\\'", "'", '\\"', '"', "a"])


@given(st.lists(pieces, max_size=9).map("".join))
def test_as_many_backslashes_go_as_stand_before_every_quote_of_a_kind(sql):
    expected = without_backslashes(without_backslashes(sql, "'"), '"')

    assert columns_of("aurora-mysql", mysql(sql)).statement == (expected or None)


def test_message_of_a_failed_login_to_sql_server_is_the_error_and_no_statement():
    failed = {"command": "LOGIN FAILED", "class": "LOGIN", "exitCode": 0, "sessionId": 0}

    columns = columns_of("sqlserver", sqlserver("Login failed for user 'eve'.", **failed))

    assert (columns.error, columns.statement) == ("Login failed for user 'eve'.", None)
    assert (columns.succeeded, columns.exit_code, columns.session_id) == (False, None, None)


def test_parts_of_a_long_statement_of_sql_server_join_in_order():
    text = "select '" + "x" * 9000 + "'"
    parts = [text[i : i + 4000] for i in range(0, len(text), 4000)]
    found = [
        columns_of("sqlserver", sqlserver(part, statementId="0xfeed", substatementId=number))
        for number, part in reversed([*enumerate(parts, start=1)])
    ]

    assert {one.statement_id for one in found} == {"0xfeed"}
    found.sort(key=lambda one: one.statement_part)
    assert "".join(one.statement for one in found) == text


@pytest.mark.parametrize("name", sorted(set(BY_ENGINE) - {"sqlserver"}))
def test_statements_of_other_engines_have_no_parts(name):
    columns = columns_of(name, BY_ENGINE[name](substatementId=2))

    assert (columns.statement_part, columns.substatement_id) == (None, 2)
