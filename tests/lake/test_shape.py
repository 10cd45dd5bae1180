"""A shape shows no value, whatever the statement."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dastream.format.engines import ENGINES
from dastream.lake.references import References, references
from dastream.lake.shape import CHARS_MAX, shape

SECRET = "SeCrEt"

POSTGRESQL = [
    "'{}'", "'x''{}'", "E'\\'{}'", "e'a\\\\\\'{}'", "$${}$$", "$a${}$b$ $ $$ $a$", "U&'\\0041{}'",
    "B'{}'", "'{}\n'", "/* {} */", "/* /* x */ {} */", "-- {}\n", "--{}\r", "'a\\''{}'",
    "$é${}'$é$", "/*'*/'{}'", "'--{}'", "'/*{}'", '"a""b" \'{}\'', "x$a$ '{}' $a$",
    "'a' -- '\n'{}'", "$1$a${}$a$", "'\\' || '{}'",
    "$$x$$$a${}$a$", "0x1F$a$ {}$a$", "1$$ {}$$", "$1e'\\'{}'", "type'a\\'{}'", "1e'\\'{}'",
]  # fmt: skip
MYSQL = [
    "'{}'", '"{}"', "'it\\'s {}'", "'a''{}'", '"a""{}"', "'\"{}'", "# {}\n", "-- {}\n", "--\t{}\n",
    "/* {} */", "/*! '{}' */", "/*!99999 it's */ '{}'", "/*+ x('*/') {} */", "5--'{}'",
    "`a``'` '{}'",
    "_utf8'{}'", "x'{}'", "1'{}'", "n'{}'@'{}'",
    "'C:\\' AND b='{}'", "'\\\\\\'{}'", "/* /* */ '{}' */", "--'a\n{}'",
    "/*M! '{}' */", "/*!*/'{}'",
]  # fmt: skip
ORACLE = [
    "'{}'", "'a''{}'", "q'[it's {}]'", "Q'!'{}!'", "nq'<{}>'", "nQ'{{'{}}}'", "N'{}'", "q'('{})'",
    "-- {}\n", "/* {} */", "IDENTIFIED BY {}", 'identified /**/ by "{}"',
    "Identified\nBy {} REPLACE x",
    "'\\' || '{}'", "q'''{}''", "--\r'{}'", "/* /* */ '{}' --*/", "1q'[it's {}]'",
    "seq'[it's {}]'", "q'x{}'x'",
]  # fmt: skip
SQLSERVER = [
    "'{}'", "N'{}'", '"{}"', "'a''{}'", "[a]]'] '{}'", "-- {}\n", "/* /* */ {} */", "'\\' + '{}'",
    "--\r'{}'", "/* {} */", "[x] '{}' [y]", '"a""{}"', "'[' '{}' ']'",
]  # fmt: skip
LITERALS = {
    "aurora-postgresql": POSTGRESQL,
    "postgresql": POSTGRESQL,
    "aurora-mysql": MYSQL,
    "oracle": ORACLE,
    "sqlserver": SQLSERVER,
    "another": [*POSTGRESQL, *MYSQL, *ORACLE[:-1]],
}
engines = st.sampled_from(sorted(LITERALS))
code = st.sampled_from(
    [
        "select a ",
        "from t ",
        "where x = ",
        ",",
        "(",
        ")",
        " and ",
        "\n",
        ";",
        "a.b",
        "-",
        "/",
        "x1 ",
    ]
)


@given(data=st.data(), engine=engines)
@settings(max_examples=400)
def test_no_literal_survives_wherever_it_stands(data, engine):
    literals = st.sampled_from(LITERALS[engine]).map(lambda text: text.replace("{}", SECRET))
    parts = data.draw(st.lists(st.one_of(code, literals.map(lambda one: f" {one} ")), max_size=12))
    assert SECRET not in shape("".join(parts), engine)


@pytest.mark.parametrize(
    ("engine", "literal"), [(engine, one) for engine, some in LITERALS.items() for one in some]
)
def test_each_literal_and_comment_is_masked(engine, literal):
    text = f"select a from t where b = {literal.replace('{}', SECRET)} and c = '{SECRET}'"
    assert SECRET not in shape(text, engine)
    for end in range(len(text)):  # cut anywhere, as engines cut long texts
        assert SECRET not in shape(text[:end], engine)


@pytest.mark.parametrize(
    ("engine", "opening"),
    [
        *(("postgresql", opening) for opening in ("'", '"', "/*", "e'", "$$", "$a$ $b$", "U&'")),
        *(("aurora-mysql", opening) for opening in ("'", '"', "/*", "`", "'\\''", "#")),
        *(("oracle", opening) for opening in ("'", '"', "/*", "q'[", "nq'!", "--")),
        *(("sqlserver", opening) for opening in ("'", '"', "/*", "[", "/* /*", "--")),
        *(("another", opening) for opening in ("'", '"', "/*", "`", "[", "$", "#", "--", "\\")),
    ],
)
def test_what_has_no_end_is_masked_to_the_end(engine, opening):
    assert SECRET not in shape(f"select {opening} {SECRET}", engine)


@given(st.text(st.sampled_from("'\"`$[]()*/-#\\\n\r ab1qQeENn!é"), max_size=60), engines)
@example("é$a$b$a$", "postgresql")
def test_a_shape_has_no_digit_of_a_number_and_is_its_own_shape(text, engine):
    once = shape(text, engine)
    assert "\n" not in once
    if not once.endswith("…"):
        assert shape(once, engine) == once


@given(st.integers() | st.floats(allow_nan=False), st.sampled_from(sorted(ENGINES)))
def test_numbers_are_masked(number, engine):
    assert shape(f"select a1 from t2 where x = {number!r}", engine) in (
        "select a1 from t2 where x = ?",
        "select a1 from t2 where x = -?",
        "select a1 from t2 where x = inf",
        "select a1 from t2 where x = -inf",
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("before", ["€", "£", "\u00a0", "\u3000", "\u2013", "½ ", "\u200b"])
def test_a_number_is_masked_after_what_is_no_letter(before, engine):
    assert "55" not in shape(f"select a from t where x ={before}5550123", engine)


@pytest.mark.parametrize(
    ("engine", "text", "expected"),
    [
        ("postgresql", 'select "My Col" where id = $1', 'select "My Col" where id = $1'),
        ("postgresql", "select 1,\n\t'a' -- x\n from T1", "select ?, ? from T1"),
        ("postgresql", "insert t values (1,'a',NULL), (2, 'b', $3)", "insert t values (?)"),
        ("postgresql", "where a in (1, -2, 3)", "where a in (?)"),
        ("postgresql", "x = 0xFF or y = 1e-5 or z = .5", "x = ? or y = ? or z = ?"),
        ("aurora-mysql", 'select `a` from t where b = "x" # c', "select `a` from t where b = ?"),
        ("aurora-mysql", "select 5--3", "select ?--?"),
        ("oracle", "select q'[it''s]' from dual", "select ? from dual"),
        ("sqlserver", "select [a b] from [t] where p = @p1", "select [a b] from [t] where p = @p1"),
        ("sqlserver", "select $12.50", "select ?"),
        ("another", "select a from t where b = 'x' and c", "select a from t where b = ? …"),
    ],
)  # fmt: skip
def test_the_rest_of_a_statement_is_kept(engine, text, expected):
    assert shape(text, engine) == expected


def test_a_long_statement_is_cut():
    text = "select " + "a, " * CHARS_MAX + f"'{SECRET}'"
    assert shape(text, "postgresql").endswith("…")
    assert SECRET not in shape(text, "postgresql")


@pytest.mark.parametrize("engine", LITERALS)
def test_hostile_text_takes_no_longer_than_its_length(engine):
    """A quadratic pattern would take a minute for one of these."""
    began = time.process_time()
    for part in ("'", "\"'", "/*", "$a", "$a$", "[(", "q'[", "q'a", "\\", "E'\\", "1e-", "(?,",
                 "--\r", "`'", "identified", "(?), ", "- ?", "(", "/*!", "*/", "'\\'"):  # fmt: skip
        shape(part * CHARS_MAX, engine)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("engine", "text", "tables", "columns"),
    [
        ("postgresql", "select a from s.t as x where x.b = ?", ("s.t",), ("a", "b")),
        ("postgresql", "with q as (select ?) select c from q join t using (d)", ("t",), ("c",)),
        ("aurora-mysql", "update `t` set `a` = ? where b in (?)", ("t",), ("a", "b")),
        ("oracle", "select a from b.t where c = ?", ("b.t",), ("a", "c")),
        ("sqlserver", "select [a b] from [dbo].[t]", ("dbo.t",), ("a b",)),
    ],
)  # fmt: skip
def test_tables_and_columns_of_a_shape(engine, text, tables, columns):
    assert references(text, engine) == References(tables, columns)


@pytest.mark.parametrize(
    "text", ["", "no sql at all", "select ? …", "(" * 3000, "select " + "a," * 5000, "?", "begin"]
)
@pytest.mark.parametrize("engine", LITERALS)
def test_what_does_not_parse_names_nothing_and_says_nothing(engine, text, caplog):
    assert references(text, engine).tables in ((), ("no",))
    assert not caplog.records


@given(st.text(max_size=200), engines)
@settings(max_examples=200)
def test_parsing_never_fails(text, engine):
    references(shape(text, engine), engine)
