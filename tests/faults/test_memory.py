"""Memory is bounded by settings, however much there is to read. `make soak` reads a million."""

import random

from support import entry

ENTRIES = 50
FLUSH_BYTES_MAX = "20000"
GROWTH_BYTES_MAX = 8 << 20


def memory_bytes(scene, runs, records):
    """The most that a run needed for so many records."""
    run = runs(
        *scene.arguments, "--once", "--flush-bytes-max", FLUSH_BYTES_MAX, **scene.environment
    )
    assert run.code == 0, run.errors
    assert run.counters["events"] == records * ENTRIES
    return run.memory_bytes_max


def put(scene, chance, records):
    fed = [
        scene.feed.seal([entry(f"SELECT {number}, {n}") for n in range(ENTRIES)], number)
        for number in range(10)
    ]
    for start in range(0, records, 400):
        scene.put_these(
            [fed[number % 10] for number in range(start, min(start + 400, records))], chance
        )


def test_six_times_the_events_need_no_more_memory(make_scene, runs):
    scene = make_scene()
    chance = random.Random(1)
    put(scene, chance, 200)
    few = memory_bytes(scene, runs, 200)
    put(scene, chance, 1200)
    many = memory_bytes(scene, runs, 1200)
    print(f"{few / 2**20:.0f} MiB for 10,000 events, {many / 2**20:.0f} MiB for 60,000")

    assert many - few < GROWTH_BYTES_MAX
