import signal

import pytest
from run_streams import Stream


@pytest.fixture(autouse=True)
def heard_signals():
    """Whoever runs the tests may ignore signals, and what they start would, too."""
    ignored = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def stream(aws):
    made = Stream(aws)
    yield made
    made.kinesis.delete_stream(StreamName=made.name)


@pytest.fixture
def lake(tmp_path):
    return (tmp_path / "lake").as_uri()


@pytest.fixture
def state(tmp_path):
    return f"sqlite://{tmp_path}/state.sqlite"
