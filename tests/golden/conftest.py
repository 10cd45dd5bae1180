"""Every trail that there is: what was recorded once, and what runs here now."""

from __future__ import annotations

import pytest
import trails

RECORDINGS = {one.directory.name: one for one in trails.recordings()}


@pytest.fixture(scope="session", params=[*RECORDINGS, *trails.SERVERS])
def trail(request, tmp_path_factory):
    if request.param in RECORDINGS:
        return trails.replayed(RECORDINGS[request.param], tmp_path_factory.mktemp("log"))
    return trails.live(trails.find_server(request.param))
