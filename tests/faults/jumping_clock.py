"""`run_forks` under clocks that jump: the time of day to and fro, the monotonic one ahead.

python jumping_clock.py
"""

import random
import runpy
import time
from pathlib import Path

DAY_SECONDS = 86_400
JUMP_CHANCE = 0.02


def jumping(clock, jumps):
    """A clock that is off by one of the jumps more, now and then."""
    chance = random.Random(1)
    off = [0.0]

    def jumping_clock():
        if chance.random() < JUMP_CHANCE:
            off[0] += chance.choice(jumps)
        return clock() + off[0]

    return jumping_clock


if __name__ == "__main__":
    # Before anything of dastream is loaded, as it takes clocks as defaults of arguments.
    time.time = jumping(time.time, [-DAY_SECONDS, 7200, DAY_SECONDS])
    time.monotonic = jumping(time.monotonic, [1, 60, 600])
    runpy.run_path(str(Path(__file__).with_name("run_forks.py")), run_name="__main__")
