"""Kills at points that chance chooses, over a stream that splits and merges all the while."""

from collections import Counter
from itertools import cycle

POINTS = {
    "read": ["before", "after"],
    "decode": ["before", "after"],
    "deliver dead letters": ["before", "after"],
    "deliver events": ["before", "after"],
    "between put and commit": ["after"],
    "commit": ["before", "within", "after"],
}
"""The moments of each phase: before its call, inside of it, and after it."""

ON_DISK = ["named", "linked"]
"""Moments inside of putting a file: before it has its name, and before its directory is synced."""

PASSES_MAX = {"read": 6, "decode": 12}


def kill_repeatedly(scene, runs, chance, kills, *, hits_min=2):
    """How often runs were killed in each phase: so many times at all, each phase often enough."""
    hits = Counter(dict.fromkeys(POINTS, 0))
    for point in _points(chance, is_on_disk=scene.lake_url.startswith("file:")):
        if hits.total() >= kills and min(hits.values()) >= hits_min:
            return hits
        scene.put(chance, chance.randrange(4, 16))
        if chance.random() < 0.3:
            scene.reshard(chance)
        run = runs(
            *scene.arguments, "--once", "--flush-bytes-max", "3000", kill=point, **scene.environment
        )
        assert run.code in {-9, 0, 3}, run.errors
        hits[point[0]] += run.code == -9
    return hits


def _points(chance, *, is_on_disk):
    """Phase, moment, and how often it is passed before; all phases in turn, without end."""
    phases = [*POINTS]
    chance.shuffle(phases)
    for phase in cycle(phases):
        is_put = phase.startswith("deliver")
        moments = POINTS[phase] + ON_DISK * (is_put and is_on_disk)
        yield phase, chance.choice(moments), chance.randrange(PASSES_MAX.get(phase, 3))
