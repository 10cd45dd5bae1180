import csv
import io
import json
import os
import pty
import stat
import sys
from subprocess import Popen

import pyarrow.parquet as pq
import pytest

import lakes
from dastream.cli.app import run_app
from dastream.sinks import open_sink
from dastream.storage import FileStorage, copy_objects, open_storage

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1"]


@pytest.fixture
def lake(tmp_path):
    lakes.deliver(
        tmp_path / "lake",
        lakes.event(1, "SELECT 'é\x1b[31m'", rowCount=7),
        lakes.event(2, "two\nlines", dbUserName="ada", rowCount=8),
    )
    return tmp_path / "lake"


@pytest.fixture
def query(lake, capfdbinary):
    """Runs a query; gives exit code, output and standard error."""

    def run(sql, *arguments, at=lake):
        code = run_app(["query", "--lake", str(at), sql, *arguments])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


def test_answer_is_a_table_with_numbers_to_the_right(query):
    code, out, err = query("SELECT user, row_count AS rows, statement FROM events ORDER BY 1")

    assert code == 0
    assert out.splitlines() == [
        "user    rows  statement",
        "──────  ────  ──────────────────",
        "ada        8  two ↵ lines",
        r"davide     7  SELECT 'é\x1b[31m'",
    ]
    assert err.startswith("2 rows · 1 object in the lake · ")


def test_answer_of_no_rows_has_its_names(query):
    _, out, err = query("SELECT user, 1 AS n FROM events WHERE false")

    assert out.splitlines()[0] == "user  n"
    assert err.startswith("0 rows")


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("NULL", ""),
        ("true", "true"),
        ("1.50::DECIMAL(5, 2)", "1.50"),
        ("sum(row_count)", "15"),
        ("'2026-11-23 07:28:05'::TIMESTAMPTZ", "2026-11-23 07:28:05.000000Z"),
        ("DATE '2026-11-23'", "2026-11-23"),
        ("'9999-12-31 23:59:59+00'::TIMESTAMPTZ + INTERVAL 1 DAY", "10000-01-01 23:59:59.000000Z"),
        ("[1, NULL]", "[1,null]"),
        ("{a: 'x', b: DATE '2026-11-23'}", '{"a":"x","b":"2026-11-23"}'),
        ("'a\u202eb'", r"a\u202eb"),
        ("INTERVAL 90 MINUTE", "[0,0,5400000000000]"),
    ],
)
def test_every_type_has_a_text(query, sql, shown):
    code, out, _ = query(f"SELECT {sql} AS x FROM events")

    assert code == 0
    assert shown in out.splitlines()[2]


def test_csv_is_quoted_and_no_cell_calculates(query, tmp_path):
    events = (lakes.event(n, text, dbUserName='a "b", c') for n, text in enumerate(FORMULAS))
    lakes.deliver(tmp_path / "formulas", *events)

    code, out, _ = query(
        'SELECT user, statement, row_count, NULL AS "=x" FROM events ORDER BY event_id',
        "--format",
        "csv",
        at=tmp_path / "formulas",
    )

    assert code == 0
    names, *rows = csv.reader(io.StringIO(out, newline=""))
    assert names == ["user", "statement", "row_count", "'=x"]
    assert rows == [['a "b", c', f"'{text}", "10", ""] for text in FORMULAS]


def test_csv_ends_lines_in_cr_lf_and_quotes_line_breaks_of_a_cell(query, tmp_path):
    lakes.deliver(tmp_path / "breaks", lakes.event(1, "a\rb"), lakes.event(2, "c\nd"))

    _, out, _ = query(
        "SELECT statement FROM events ORDER BY event_id",
        "--format",
        "csv",
        at=tmp_path / "breaks",
    )

    assert out == 'statement\r\n"a\rb"\r\n"c\nd"\r\n'


def test_json_is_an_object_a_line(query):
    code, out, _ = query(
        "SELECT user, sum(row_count) AS n, [true, NULL] AS l, 'é\x1b' AS t FROM events "
        "GROUP BY user ORDER BY n",
        "--format",
        "json",
    )

    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == [
        {"user": "davide", "n": 7, "l": [True, None], "t": "é\x1b"},
        {"user": "ada", "n": 8, "l": [True, None], "t": "é\x1b"},
    ]


def test_file_is_parquet_that_only_its_owner_reads(query, tmp_path):
    output = tmp_path / "out.parquet"
    output.write_text("older")
    code, out, _ = query("FROM events", "--format", "parquet", "--output", str(output))

    assert (code, out) == (0, "")
    assert pq.read_table(output).num_rows == 2
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_failed_query_leaves_the_old_file(query, tmp_path):
    output = tmp_path / "out.csv"
    output.write_text("older")
    code, _, err = query("SELECT statement::INT FROM events", "--output", str(output))

    assert code == 2
    assert err.startswith("error: query: failed on a value")
    assert output.read_text() == "older"
    assert {path.name for path in tmp_path.iterdir()} == {"lake", "out.csv"}


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT nope FROM events", 'Referenced column "nope" not found'),
        ("SELEC", 'syntax error at or near "SELEC"'),
        ("FROM nowhere", "there is no table nowhere"),
        ("COPY events TO 'x'", "not one SELECT"),
        ("FROM read_csv('/etc/passwd')", "read_csv is no table function for a lake"),
    ],
)
def test_sql_that_is_none_is_a_usage_error_with_a_hint(query, sql, told):
    code, out, err = query(sql)

    assert (code, out) == (2, "")
    assert told in err
    assert "hint: " in err


def test_place_without_delivered_events_is_an_error(query, tmp_path):
    code, _, err = query("FROM events", at=tmp_path / "nowhere")

    assert code == 2
    assert "no delivered events at" in err


def test_what_cannot_be_read_is_told_and_the_exit_code_is_3(query, lake):
    lakes.put(lake, "2026/11/23/07/x\x1b", b"garbage\n" * 12)
    code, out, err = query("SELECT count(*) AS n FROM events")

    assert (code, out.splitlines()[-1]) == (3, "2")
    assert err.splitlines()[0] == r"error: 2026/11/23/07/x\x1b: line 1: not a delivered line"
    assert err.splitlines()[-1].endswith("12 errors")


def test_query_of_s3_needs_nothing_but_the_endpoint(query, lake, aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="a-lake")
    open_sink("s3://a-lake/activity?format=parquet").close()
    copy_objects(FileStorage(lake), open_storage("s3://a-lake/activity"))

    code, out, _ = query("SELECT count(*) AS n FROM events", at="s3://a-lake/activity")

    assert (code, out.splitlines()[-1]) == (0, "2")


def on_terminal(lake, *arguments):
    """What a terminal of 200 columns gets."""
    main, other = pty.openpty()
    command = [sys.executable, "-m", "dastream", "query", "--lake", str(lake), *arguments]
    process = Popen(command, stdout=other, stderr=other, env=os.environ | {"COLUMNS": "200"})
    os.close(other)
    data = b""
    while True:
        try:
            more = os.read(main, 65536)
        except OSError:
            break
        if not more:
            break
        data += more
    os.close(main)
    return process.wait(), data.decode()


@pytest.mark.parametrize("format", ["table", "csv", "json"])
def test_nothing_acts_on_a_terminal(lake, format):
    lakes.put(lake, "2026/11/23/07/x", lakes.lines(lakes.event(3, "\x1b]0;x\x07" + "y" * 500)))
    code, out = on_terminal(lake, "SELECT statement FROM events", "--format", format)

    assert code == 0
    assert "\x1b" not in out
    assert "\x07" not in out
    assert ("y" * 500 in out) == (format != "table")


def test_parquet_is_not_for_a_terminal(lake):
    code, out = on_terminal(lake, "FROM events", "--format", "parquet")

    assert code == 2
    assert "--output FILE" in out


@pytest.mark.parametrize(
    ("value", "format"),
    [
        ("['infinity'::TIMESTAMP]", "table"),
        ("{a: DATE '290000-01-01'}", "csv"),
        ("[DATE '290000-01-01']", "json"),
        ("INTERVAL 1 DAY", "parquet"),
    ],
)
def test_value_that_a_format_cannot_have_is_an_error_with_a_way_out(query, value, format):
    code, _, err = query(f"SELECT {value}", "--format", format)

    assert code == 2
    assert err.startswith("error: query: ")
    assert "CAST" in err


@pytest.mark.parametrize("format", ["json", "parquet"])
def test_two_columns_of_one_name_are_an_error_where_one_would_be_lost(query, format):
    code, out, err = query("SELECT 1 AS n, 2 AS n", "--format", format)

    assert (code, out) == (2, "")
    assert "name them apart with AS" in err
