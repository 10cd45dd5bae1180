"""Every trail that there is: what was recorded once, and what runs here now."""

from __future__ import annotations

import pytest
import trails

from servers import SERVERS, find_server

RECORDINGS = {one.directory.name: one for one in trails.recordings()}


@pytest.fixture(scope="session", params=[*RECORDINGS, *SERVERS])
def trail(request, tmp_path_factory):
    if request.param in RECORDINGS:
        return trails.replayed(RECORDINGS[request.param], tmp_path_factory.mktemp("log"))
    return trails.live(find_server(request.param))
