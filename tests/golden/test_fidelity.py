"""What the entries of each scene must say, on every server."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from scenes import ERRORS, LARGE_TEXT, LISTS, ODD_TABLE, SECRET

from dastream.activity.entry import encode
from dastream.activity.redact import MASK

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00")
# Query strings of several statements, and texts that are masked, have tests of their own.
SENT_ONE_BY_ONE = [name for name in LISTS if name not in ("strings", "passwords")]


def objects(entries):
    return [(e.substatement_id, e.command, e.object_type, e.object_name) for e in entries]


@pytest.mark.parametrize("scene", SENT_ONE_BY_ONE)
def test_each_statement_is_in_exactly_one_with_its_text_and_values(trail, scene):
    statements = trail.statements(scene)
    assert [s[0].statement_id for s in statements] == [*range(2, len(LISTS[scene]) + 2)]
    for entries, sent in zip(statements, LISTS[scene], strict=True):
        text, *values = sent if isinstance(sent, tuple) else (sent,)
        own = [e for e in entries if e.command_text == text and e.command != "EXECUTE"]
        own = own or [e for e in entries if e.command_text == text]
        assert own, (text, entries)
        # A text that does not parse, or a value that does not fit, is never bound.
        is_bound = own[0].exit_code not in ("42P01", "22P02")
        assert all(e.param_list == (values if is_bound else []) for e in own), text
        keys = [(e.command, *key) for e, key in zip(entries, objects(entries), strict=True)]
        assert len(keys) == len(set(keys))


def test_the_statements_of_a_query_string_are_counted_one_by_one(trail):
    found = [s[0] for s in trail.statements("strings")]
    commands = [e.command for e in found if e.exit_code is None and e.command != "SELECT"]
    tables = ["CREATE TABLE", "DROP TABLE"]
    assert commands == ["INSERT", "DELETE", "BEGIN", "INSERT", "COMMIT", *tables]
    assert [e.exit_code for e in found if e.exit_code] == ["22012", "42601"]
    assert [s[0].statement_id for s in trail.statements("strings")] == [*range(2, len(found) + 2)]
    for entry in found:
        assert any(entry.command_text in text for text in LISTS["strings"])


def test_a_function_has_its_statements_as_substatements(trail):
    entries = trail.statement("functions", "SELECT f_plpgsql($1)")
    if not trail.has_objects:
        assert [(e.class_, e.command, e.param_list) for e in entries] == [("READ", "SELECT", ["7"])]
        return
    assert objects(entries) == [
        (1, "EXECUTE", "FUNCTION", "public.f_plpgsql"),
        (2, "INSERT", "TABLE", "public.t"),
        (3, "UPDATE", "TABLE", "public.t"),
        (4, "EXECUTE", "FUNCTION", "public.f_sql"),
        (5, "INSERT", "TABLE", "public.t"),
        (6, "SELECT", "TABLE", "public.parent"),
        (7, "SELECT", None, None),
        (8, "SELECT", None, None),
    ]
    assert entries[1].command_text == "INSERT INTO t VALUES (n, 'plpgsql')"
    assert entries[-1].command_text == "SELECT f_plpgsql($1)"


def test_a_procedure_and_a_trigger_have_theirs(trail):
    call = trail.statement("functions", "CALL p_commits()")
    insert = trail.statement("functions", "INSERT INTO parent VALUES (3, 'three')")
    if trail.has_objects:
        assert [e.command for e in call] == ["EXECUTE", "INSERT", "INSERT", "CALL"]
        assert [(e.command, e.object_name) for e in insert] == [
            ("INSERT", "public.t"),
            ("INSERT", "public.parent"),
        ]
    else:
        assert [e.command for e in call] == ["CALL"]
        assert [e.command for e in insert] == ["INSERT"]


def test_what_ran_before_a_statement_failed_is_told_with_it(trail):
    *inside, failed = trail.statement("functions", LISTS["functions"][-1])
    assert (failed.command, failed.exit_code) == ("SELECT", "22012")
    assert all(e.exit_code is None for e in inside)
    assert len(inside) == (10 if trail.has_objects else 0)


def test_a_do_block_that_fails_is_one_statement_with_its_error(trail):
    entries = trail.statement("do", LISTS["do"][2])
    failed, *inside = entries
    assert (failed.command, failed.class_, failed.exit_code) == ("DO", "FUNCTION", "P0099")
    assert failed.error_message == "no"
    assert [e.command for e in inside] == (["INSERT"] if trail.has_objects else [])


def test_a_client_forges_no_entries(trail):
    assert not [e for e in trail.entries if e.command_text == "forged"]


def test_each_object_of_a_statement_has_an_entry(trail):
    found = [[e.object_name for e in s] for s in trail.statements("objects")]
    if not trail.has_objects:
        assert all(names == [None] for names in found)
        return
    # The order in which a view's tables come differs by version.
    assert [sorted(str(name).removeprefix("public.") for name in names) for names in found[:5]] == [
        ["t"],
        ["parent", "t", "v"],
        ["parent", "t"],
        ["parent", "t"],
        ["parent", "t"],
    ]


def test_an_object_that_pgaudit_watches_by_role_is_not_told_twice(trail):
    one, both = (trail.statement("object audit", text) for text in LISTS["object audit"][1:3])
    assert len(one) == 1
    assert len(both) == (2 if trail.has_objects else 1)


def test_ddl_has_objects_where_pgaudit_is_an_extension_of_the_database(trail):
    create = trail.statement("event triggers", "CREATE TABLE e (id int PRIMARY KEY, a text)")
    table_and_index = [("TABLE", "public.e"), ("INDEX", "public.e_pkey")]
    assert [(e.object_type, e.object_name) for e in create] == (
        table_and_index if trail.has_objects else [(None, None)]
    )


def test_rows_are_counted_by_pgaudit(trail):
    entries = [e for e in trail.scene("setup") if e.command == "INSERT"]
    assert [e.row_count for e in entries] == [2 if trail.has_objects else None]
    assert all(e.row_count is None for e in trail.entries if e.class_ in ("DDL", "ROLE"))


def test_copy_is_read_or_write(trail):
    own = [s[-1] for s in trail.statements("copy")]
    assert [(e.command, e.class_, e.exit_code) for e in own] == [
        ("COPY", "WRITE", None),
        ("COPY", "READ", None),
        ("COPY", "READ", None),
        ("COPY", "WRITE", "22P02"),
        ("COPY", "WRITE", "58P01"),
        ("COPY", "READ", None),
    ]


def test_a_cursor_is_its_statements(trail):
    assert [(s[0].command, s[0].class_) for s in trail.statements("cursors")] == [
        ("BEGIN", "MISC"),
        ("DECLARE CURSOR", "READ"),
        ("FETCH", "MISC"),
        ("MOVE", "MISC"),
        ("CLOSE CURSOR", "MISC"),
        ("DECLARE CURSOR", "READ"),
        ("COMMIT", "MISC"),
        ("FETCH", "MISC"),
        ("CLOSE CURSOR ALL", "MISC"),
    ]


def test_a_portal_that_is_fetched_in_parts_is_one_statement_where_it_began(trail):
    statements = trail.statements("portals")
    assert [(s[0].statement_id, s[0].command) for s in statements] == [
        (2, "BEGIN"),
        (3, "SELECT"),
        (4, "INSERT"),
        (5, "COMMIT"),
    ]
    (select,) = statements[1]
    assert select.param_list == ["7"]
    assert select.row_count == (7 if trail.has_objects else None)


def test_execute_of_a_prepared_statement_tells_what_it_ran(trail):
    entries = trail.statement("prepared", "EXECUTE p(1, 'o''ne')")
    assert entries[-1].command == "EXECUTE"
    if trail.has_objects:
        assert objects(entries[:1]) == [(1, "INSERT", "TABLE", "public.t")]
        assert entries[0].param_list == ["1", "o'ne"]


def test_statements_that_come_at_once_or_again_are_each_told(trail):
    pipelined = [s[0] for s in trail.statements("pipeline")]
    assert [e.param_list for e in pipelined] == [["0", "p"], ["1", "p"], ["2", "p"], ["p"]]
    again = [s[0] for s in trail.statements("binary values")]
    assert [e.param_list for e in again] == [["40", "ü"]] * 7


def test_a_large_statement_is_whole(trail):
    (entry,) = trail.statement("texts", LARGE_TEXT)
    assert len(entry.command_text) > 10_000


@pytest.mark.parametrize(("sent", "code"), ERRORS.items(), ids=str)
def test_an_error_has_its_code_and_message(trail, sent, code):
    text = sent[0] if isinstance(sent, tuple) else sent
    failed = [e for e in trail.scene("errors") if e.command_text == text and e.exit_code]
    assert [e.exit_code for e in failed] == [code]
    assert failed[0].error_message


def test_what_is_forbidden_says_so(trail):
    codes = [s[-1].exit_code for s in trail.statements("permissions")]
    assert codes == [None, None, "42501", "42501", "42501", "42501", None]


def test_cancels_timeouts_deadlocks_and_conflicts_have_their_codes(trail):
    def codes(scene):
        return [e.exit_code for e in trail.scene(scene) if e.exit_code]

    assert codes("cancelled") == ["57014"]
    assert codes("timeouts") == ["57014"] * 2
    assert sorted(codes("locks")) == ["40P01", "55P03"]
    assert codes("serializable") == ["40001"]


def test_a_transaction_that_fails_is_told_to_its_end(trail):
    found = [(s[0].command_text, s[0].exit_code) for s in trail.statements("transactions")]
    assert [(text, code) for text, code in found if code] == [
        ("SELECT 1/0", "22012"),
        ("SELECT 'in a failed transaction'", "25P02"),
        ("INSERT INTO t VALUES (1, 'read only')", "25006"),
        ("SELEC", "42601"),
    ]


def test_a_constraint_that_refuses_a_commit_fails_the_statement_that_commits(trail):
    simple, begin, insert, commit, *extended = trail.statements("commits")
    assert (simple[0].command, simple[0].exit_code) == ("INSERT", "23503")
    assert (begin[0].exit_code, insert[0].exit_code) == (None, None)
    assert (commit[0].command, commit[0].exit_code) == ("COMMIT", "23503")
    # In the extended protocol the statement has succeeded when the sync after it fails.
    assert extended[0][0].exit_code is None
    assert extended[1][-1].exit_code == "23503"
    assert extended[1][-1].command_text is None


def test_a_session_ends_with_what_ended_it(trail):
    def ends(scene):
        return [e.exit_code for e in trail.scene(scene) if e.command == "DISCONNECT"]

    assert sorted(ends("idle")) == ["25P03", "57P05"]
    assert [code for code in ends("terminated") if code] == ["57P01"] * 2
    assert ends("vanished") == ["08006"]
    in_statement = [e.command_text for e in trail.scene("terminated") if e.exit_code == "57P01"]
    assert sorted(map(str, in_statement)) == ["None", "None", "SELECT pg_sleep(30)"]


def test_logins_that_fail_say_how_and_who(trail):
    failed = [
        (e.command, e.exit_code, e.db_user_name, e.database_name)
        for e in trail.entries
        if e.command in ("AUTH FAILURE", "CONNECT") and e.exit_code
    ]
    # A client tries again without encryption when its first attempt is refused so late.
    assert list(dict.fromkeys(failed)) == [
        ("AUTH FAILURE", "28P01", "postgres", "postgres"),
        ("AUTH FAILURE", "28P01", "nobody, there", "postgres"),
        ("AUTH FAILURE", "28P01", "bare", "postgres"),
        ("AUTH FAILURE", "28000", "locked", "postgres"),
        ("AUTH FAILURE", "28P01", "expired", "postgres"),
        ("CONNECT", "53300", "crowded", "postgres"),
        ("CONNECT", "42501", "reader", "closed"),
        ("CONNECT", "3D000", "reader", "nowhere"),
        ("CONNECT", "55000", "reader", "template0"),
        ("CONNECT", "42704", "reader", "postgres"),
        ("CONNECT", "22023", "reader", "postgres"),
    ]


def test_who_and_where_is_told(trail):
    assert {e.db_user_name for e in trail.scene("users")} == {"reader"}
    assert list(dict.fromkeys(e.database_name for e in trail.scene("databases"))) == [
        "postgres",
        "Ünïcode, 'db'",
        "latin",
    ]


def test_unusual_names_are_whole(trail):
    if trail.has_objects:
        (entry,) = trail.statement("identifiers", f"INSERT INTO {ODD_TABLE} VALUES (1)")
        assert entry.object_name == f"public.{ODD_TABLE}"


def test_text_in_another_encoding_comes_as_unicode(trail):
    assert [e.command_text for e in trail.scene("encodings") if e.class_ == "READ"] == [
        "SELECT 'é'",
        "SELECT $1",
    ]
    # Bytes that are no text are refused, and then the log does not hold them.
    assert [e.exit_code for e in trail.scene("encodings") if e.exit_code] == ["22021"]
    # The log is in the encoding of each database, and does not say in which: outside of UTF-8
    # what is not ASCII is lost.
    latin = [e for e in trail.scene("databases") if e.database_name == "latin"]
    assert "CREATE TABLE �n� (a int)" in [e.command_text for e in latin]


def test_replication_commands_are_told(trail):
    assert [(e.command, e.command_text) for e in trail.scene("replication")[1:-1]] == [
        ("IDENTIFY_SYSTEM", "IDENTIFY_SYSTEM"),
        ("SELECT", "SELECT 1"),
        ("SHOW", "SHOW server_version"),
    ]


def test_nothing_is_lost_where_the_log_changes_files(trail):
    assert [e.command_text for e in trail.scene("rotation")[1:-1]] == [
        "SELECT 'before the rotation'",
        "SELECT pg_rotate_logfile()",
        "SELECT 'after the rotation'",
    ]


def test_times_are_utc_and_hold_the_duration_whatever_the_session_has_set(trail):
    for entry in trail.entries:
        assert TIME.fullmatch(entry.start_time)
        assert TIME.fullmatch(entry.log_time)
        assert entry.start_time <= entry.log_time
    (slept,) = trail.statement("time zones", "SELECT pg_sleep($1)")
    start, end = map(datetime.fromisoformat, (slept.start_time, slept.log_time))
    assert 0.02 <= (end - start).total_seconds() < 5


def test_a_session_is_numbered_from_its_login_to_its_end(trail):
    sessions = {}
    for entry in trail.entries:
        sessions.setdefault(entry.session_id, []).append(entry)
    for session_id, entries in sessions.items():
        start, pid = (int(part, 16) for part in session_id.split("."))
        assert {e.pid for e in entries} == {pid}
        assert abs(datetime.fromisoformat(entries[0].start_time).timestamp() - start) < 2
        assert entries[0].statement_id == 1
        numbers = sorted({e.statement_id for e in entries})
        assert numbers == [*range(1, len(numbers) + 1)]
        is_closed = entries[-1].command == "DISCONNECT"
        assert is_closed or entries[-1].exit_code


def test_no_password_is_in_an_entry(trail):
    assert not [e for e in trail.entries if SECRET in encode(e).decode()]
    masked = trail.statements("passwords")
    assert [s[0].command_text for s in masked] == [
        f"CREATE USER secretive WITH PASSWORD {MASK}",
        f"CREATE USER secretive WITH PASSWORD {MASK}",
        f"ALTER ROLE secretive PASSWORD {MASK}",
        f"DO {MASK}",
        "SELECT set_config($1, $2, false)",
        "DROP USER secretive",
    ]
    assert masked[4][-1].param_list == [MASK, MASK]
    assert [s[0].exit_code for s in masked] == [None, "42710", "42601", None, None, None]
