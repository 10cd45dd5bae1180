"""SQL from outside reads the lake and nothing else: every attempt fails at both walls.

The first wall is the check of the statement's tree, the second one is what DuckDB may do.
"""

import os
import subprocess
import sys
from contextlib import suppress

import duckdb
import pytest

import lakes
from dastream.errors import ConfigError, DastreamError
from dastream.lake.database import Database
from dastream.storage import open_storage

SECRET = "the secret of another file"

ATTEMPTS = {
    "read_text": "SELECT * FROM read_text('{file}')",
    "read_blob": "SELECT * FROM read_blob('{file}')",
    "read_csv": "SELECT * FROM read_csv('{file}', header = false)",
    "read_csv_auto": "SELECT * FROM read_csv_auto('{file}')",
    "read_json": "SELECT * FROM read_json('{file}')",
    "read_ndjson_objects": "SELECT * FROM read_ndjson_objects('{file}')",
    "read_parquet": "SELECT * FROM read_parquet('{file}')",
    "parquet_metadata": "SELECT * FROM parquet_metadata('{file}')",
    "parquet_bloom_probe": "SELECT * FROM parquet_bloom_probe('{file}', 'a', 1)",
    "read_duckdb": "SELECT * FROM read_duckdb('{file}')",
    "read_single_csv_file": "SELECT * FROM read_single_csv_file('{file}')",
    "sniff_csv": "SELECT * FROM sniff_csv('{file}')",
    "glob": "SELECT * FROM glob('{dir}/*')",
    "file as a table": "SELECT * FROM '{file}'",
    "file as a table, csv": "FROM '{file}.csv'",
    "file below the lake's name": "SELECT * FROM read_text('dastream://../{file}')",
    "file in a subquery": "SELECT (SELECT content FROM read_text('{file}'))",
    "file in WITH": "WITH x AS (SELECT * FROM read_text('{file}')) SELECT * FROM x",
    "file in a join": "SELECT * FROM range(1) JOIN read_text('{file}') ON true",
    "file in a union": "SELECT 1 UNION ALL SELECT content FROM read_text('{file}')",
    "file in a lateral join": "SELECT * FROM events, LATERAL (SELECT * FROM read_text('{file}'))",
    "file in EXISTS": "SELECT 1 WHERE EXISTS (FROM read_text('{file}'))",
    "file in ORDER BY": "SELECT 1 ORDER BY (SELECT content FROM read_text('{file}'))",
    "file in a recursive query": (
        "WITH RECURSIVE r AS (SELECT content FROM read_text('{file}') UNION ALL FROM r) FROM r"
    ),
    "describe a file": "DESCRIBE SELECT * FROM read_csv('{file}')",
    "summarize a file": "SUMMARIZE FROM read_csv('{file}')",
    "show a file": "SELECT * FROM (DESCRIBE '{file}')",
    "function in other letters": "SELECT * FROM ReAd_TeXt('{file}')",
    "function in quotes": "SELECT * FROM \"read_text\"('{file}')",
    "function with a schema": "SELECT * FROM system.main.read_text('{file}')",
    "comment in front": "/* SELECT */ FROM read_text('{file}')",
    "SQL in a string": "SELECT * FROM query('FROM read_text(''{file}'')')",
    "table in a string": "SELECT * FROM query_table('{file}')",
    "SQL as JSON": (
        "SELECT * FROM json_execute_serialized_sql("
        "json_serialize_sql('FROM read_text(''{file}'')'))"
    ),
    "network": "SELECT * FROM read_csv('http://127.0.0.1:{port}/x')",
    "S3": "SELECT * FROM read_parquet('s3://bucket/x')",
    "COPY TO": "COPY (SELECT 1) TO '{new}'",
    "COPY TO the lake": "COPY (SELECT 1) TO 'dastream://events/x'",
    "COPY in WITH": "WITH x AS (COPY (SELECT 1) TO '{new}') SELECT 1",
    "COPY to a program": "COPY (SELECT 1) TO PROGRAM 'touch {new}'",
    "EXPORT": "EXPORT DATABASE '{new}'",
    "IMPORT": "IMPORT DATABASE '{dir}'",
    "ATTACH": "ATTACH '{new}' AS other",
    "ATTACH in memory": "ATTACH ':memory:' AS other",
    "INSTALL": "INSTALL httpfs",
    "LOAD": "LOAD '{file}'",
    "CREATE TABLE": "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW": "CREATE OR REPLACE VIEW events AS SELECT 1",
    "CREATE MACRO": "CREATE MACRO f() AS TABLE SELECT * FROM read_text('{file}')",
    "CREATE SECRET": "CREATE SECRET (TYPE s3, KEY_ID 'x')",
    "INSERT": "INSERT INTO events SELECT 1",
    "INSERT in WITH": "WITH x AS (INSERT INTO events SELECT 1 RETURNING 1) FROM x",
    "DELETE": "DELETE FROM events",
    "DROP": "DROP VIEW events",
    "SET": "SET enable_external_access = true",
    "SET of directories": "SET allowed_directories = ['/']",
    "SET of the log": "SET logging_storage = 'file'",
    "RESET": "RESET lock_configuration",
    "PRAGMA": "PRAGMA enable_profiling",
    "PRAGMA of a file": "PRAGMA profiling_output = '{new}'",
    "enable_logging": "SELECT * FROM enable_logging(storage = 'file', storage_path = '{new}')",
    "CALL": "CALL enable_logging()",
    "environment": "SELECT getenv('HOME')",
    "a setting": "SELECT Current_Setting('temp_directory')",
    "a setting in a list": "SELECT [x.current_setting('secret_directory') FOR x IN ['a']]",
    "a variable": "SELECT getvariable('a')",
    "the log": "SELECT write_log('a')",
    "file under the name of another WITH": (
        "SELECT * FROM '{file}.csv', (WITH \"{file}.csv\" AS (SELECT 1) SELECT 1)"
    ),
    "secrets": "SELECT * FROM duckdb_secrets()",
    "settings": "SELECT * FROM duckdb_settings()",
    "temporary files": "SELECT * FROM duckdb_temporary_files()",
    "Python's variables": "SELECT * FROM SECRET",
    "memory": "SELECT * FROM arrow_scan(1::UBIGINT, 2::UBIGINT, 3::UBIGINT)",
    "Python's memory": "SELECT * FROM python_arrow_scan(1, 2, 3)",
    "the view's own source": "SELECT * FROM lines",
    "PREPARE": "PREPARE p AS SELECT 1",
    "EXECUTE": "EXECUTE p",
    "EXPLAIN ANALYZE": "EXPLAIN ANALYZE COPY (SELECT 1) TO '{new}'",
    "two statements": "SELECT 1; COPY (SELECT 1) TO '{new}'",
    "transaction": "BEGIN",
    "CHECKPOINT": "CHECKPOINT",
    "no statement": "",
}


@pytest.fixture
def place(tmp_path):
    """What the attempts aim at: a file beside the lake, and one that must not come to be."""
    file = tmp_path / "other" / "file"
    file.parent.mkdir()
    file.write_text(SECRET)
    return {"file": file, "dir": file.parent, "new": tmp_path / "new", "port": 9}


@pytest.fixture
def database(tmp_path):
    lakes.deliver(tmp_path / "lake", lakes.event())
    with Database(open_storage(str(tmp_path / "lake"))) as database:
        yield database


def rows(answer):
    return [row for batch in answer.batches for row in batch.to_pylist()]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_attempt_is_refused_before_duckdb_sees_it(attempt, database, place):
    with pytest.raises(ConfigError) as caught:
        database.ask(ATTEMPTS[attempt].format(**place))

    assert SECRET not in str(caught.value)
    assert not place["new"].exists()
    assert [row["event_id"] for row in rows(database.ask("FROM events"))] == [lakes.event().id]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_attempt_has_nothing_from_duckdb_either(attempt, database, place):
    """Were the first wall to let it through."""
    try:
        got = repr(rows(database.read(ATTEMPTS[attempt].format(**place))))
    except (DastreamError, duckdb.Error, AttributeError) as error:  # no answer has no rows
        got = f"{error} {error.__cause__} {error.__context__}"

    assert SECRET not in got
    assert not place["new"].exists()
    assert place["file"].read_text() == SECRET
    assert {path.suffix for path in (place["new"].parent / "lake").rglob("*.*")} == {".gz"}


def test_there_are_enough_attempts():
    assert len(ATTEMPTS) >= 25


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM events",
        "select Count(*) from EVENTS;",
        "FROM events",
        "TABLE events",
        "VALUES (1), (2)",
        "DESCRIBE events",
        "SUMMARIZE events",
        "WITH x AS (SELECT * FROM events), y AS (FROM x) FROM Y JOIN dead_letters d ON true",
        "WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r WHERE n < 3) FROM r",
        "SELECT unnest(params) FROM events",
        "SELECT * FROM range(3), generate_series(2), unnest([1])",
        "SELECT entry->>'dbUserName' FROM events, json_each(entry::JSON)",
        "SELECT * FROM events PIVOT (count(*) FOR command IN ('SELECT'))",
        "SELECT user, row_number() OVER (PARTITION BY user ORDER BY time) FROM events QUALIFY true",
        "(SELECT 1) UNION ALL (SELECT 2) INTERSECT SELECT 3 ORDER BY 1",
        "SELECT 'read_text(''/etc/passwd'')', 'COPY_QUERY_NODE'",
        "SELECT e.user FROM events AS e SEMI JOIN events USING (event_id)",
    ],
)
def test_question_is_answered(sql, database):
    rows(database.ask(sql))


def test_deeply_nested_sql_is_an_error_and_no_crash(database):
    for sql in ("(" * 50_000, "SELECT " + "(" * 5000 + "1" + ")" * 5000):
        with suppress(DastreamError):
            rows(database.ask(sql))


def test_values_are_no_part_of_an_error(database):
    with pytest.raises(ConfigError, match="failed on a value") as caught:
        rows(database.ask("SELECT statement::INTEGER FROM events"))

    assert "SELECT 1" not in str(caught.value)


def test_nothing_stays_behind(tmp_path):
    """Also with more sorted than memory holds; and the interpreter ends without complaints."""
    lakes.deliver(tmp_path / "lake", lakes.event())
    (tmp_path / "tmp").mkdir()
    code = f"""
from dastream.lake import database
from dastream.storage import open_storage
database._SETTINGS["memory_limit"] = "60MB"
with database.Database(open_storage({str(tmp_path / "lake")!r})) as opened:
    import os, stat
    [spilled] = os.listdir({str(tmp_path / "tmp")!r})
    mode = os.stat({str(tmp_path / "tmp")!r} + "/" + spilled).st_mode
    answer = opened.ask("SELECT hash(range) h, repeat('x', 50) FROM range(2000000) ORDER BY h")
    print(sum(batch.num_rows for batch in answer.batches), oct(stat.S_IMODE(mode)))
"""
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )

    assert (done.stdout, done.stderr) == ("2000000 0o700\n", "")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_no_progress_is_drawn_where_python_is_interactive(tmp_path):
    """DuckDB takes Python without a script for that."""
    code = f"""
from dastream.lake.database import Database
from dastream.storage import open_storage
with Database(open_storage({str(tmp_path)!r})) as opened:
    print(*opened.read("SELECT current_setting('enable_progress_bar') b").batches)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "false" in done.stdout
