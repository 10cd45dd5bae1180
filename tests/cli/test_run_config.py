"""`dastream run --config FILE`: options and settings from TOML."""

import pytest

from dastream.cli.app import run_app


@pytest.fixture
def written(tmp_path):
    """Writes a file; gives its path."""

    def write(text):
        path = tmp_path / "run.toml"
        path.write_text(text)
        return str(path)

    return write


def usage(arguments, capsys):
    assert run_app(["run", *arguments]) == 2
    return capsys.readouterr().err


def test_file_stands_for_options(written, aws, tmp_path):
    config = written(
        f"""
        source = "kinesis://aws-rds-das-cluster-NONE"
        sink = ["file://{tmp_path}/one", "file://{tmp_path}/two"]
        state = "sqlite://{tmp_path}/state.sqlite"
        once = true
        flush_age_seconds_max = 1.5
        key_cache_keys_max = 7
        """
    )

    assert run_app(["run", "--config", config]) == 1  # there is no such stream
    assert (tmp_path / "state.sqlite").exists()


def test_option_goes_before_the_file_and_the_file_before_the_environment(
    written, aws, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("DASTREAM_KEY_CACHE_KEYS_MAX", "many")
    config = written(
        f"""
        source = "kinesis://aws-rds-das-cluster-NONE"
        sink = "file://{tmp_path}/lake"
        transforms = "no-such"
        key_cache_keys_max = 7
        """
    )

    assert "no-such" in usage(["--config", config], capsys)
    assert run_app(["run", "--config", config, "--transforms", "none"]) == 1
    assert "there is no stream" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sinks = []", "unknown name: 'sinks'"),
        ("[run]", "unknown name: 'run'"),
        ('config = "x"', "unknown name: 'config'"),
        ("sink = ", "is no TOML"),
        ('source = "kinesis://s"\nsink = "file:///x"\nflush_bytes_max = 0', "--flush-bytes-max"),
        ('source = "kinesis://s"', "--sink"),
    ],
)
def test_file_that_is_wrong_is_refused(written, aws, capsys, text, reason):
    assert reason in usage(["--config", written(text)], capsys)


def test_file_that_is_missing_is_refused(capsys):
    assert "--config" in usage(["--config", "/no/such/file"], capsys)


def test_setting_that_is_wrong_is_refused(written, aws, capsys):
    text = 'source = "kinesis://s"\nsink = "file:///x"\nkey_cache_keys_max = "many"'

    assert "DASTREAM_KEY_CACHE_KEYS_MAX" in usage(["--config", written(text)], capsys)
