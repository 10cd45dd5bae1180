"""The optional libraries that make decoding faster: tests run with all of them and with none."""

import importlib.util
import os

import pytest

from dastream.format.primitives import primitives


def accelerated(names):
    """Use these accelerators for a test, and all of them again after it."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"{' and '.join(missing)} is not installed (the extra fast)"
        pytest.fail(reason) if os.environ.get("DASTREAM_REQUIRE_ALL") else pytest.skip(reason)
    primitives.use(names)
    yield
    primitives.use()
