"""What the tests of the deployment share: the tools' programs and a build of the functions."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def _load_build():
    spec = importlib.util.spec_from_file_location("deploy_build", DEPLOY / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def builder():
    """`deploy/build.py` as a module; without uv the test is skipped."""
    if shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") is None:
        _unavailable("building for Lambda needs uv")
    return _load_build()


@pytest.fixture(scope="session")
def tool():
    """The path of a program of the dependency group `deploy`."""

    def tool(name):
        found = shutil.which(name, path=f"{ROOT / '.venv-deploy' / 'bin'}:{os.environ['PATH']}")
        return found or _unavailable(f"{name} is not installed: make deploy-tools")

    return tool


def _unavailable(reason):
    if os.environ.get("DASTREAM_REQUIRE_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)
