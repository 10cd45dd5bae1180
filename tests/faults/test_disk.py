"""A disk that is full, and a state file that is damaged, lost or held by somebody else."""

import os
import random
import sqlite3
import subprocess

import pytest

from outside import run, unavailable


class Disk:
    """A file system in memory, of a size that can be changed."""

    def __init__(self, directory, size):
        self.directory = directory
        directory.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory)

    def grow(self):
        run("mount", "-o", "remount,size=8m", self.directory, self.directory)

    def make_read_only(self):
        run("mount", "-o", "remount,ro", self.directory, self.directory)

    def close(self):
        run("umount", self.directory)


@pytest.fixture
def make_disk(tmp_path):
    made = []

    def make(size):
        try:
            made.append(Disk(tmp_path / "disk", size))
        except (OSError, subprocess.CalledProcessError) as error:
            unavailable(f"a file system of its own cannot be mounted: {error}")
        return made[-1]

    yield make
    for disk in made:
        disk.close()


def test_lake_on_a_full_disk_goes_on_when_there_is_room(make_scene, runs, make_disk):
    disk = make_disk("48k")
    scene = make_scene(f"file://{disk.directory}/lake")
    scene.put(random.Random(1), 100)
    arguments = [*scene.arguments, "--once", "--flush-bytes-max", "20000"]

    full = runs(*arguments, **scene.environment)
    assert (full.code, "No space left on device" in full.errors) == (1, True), full.errors
    assert scene.temporary_files() == []
    disk.grow()

    assert runs(*arguments, **scene.environment).code == 3
    scene.assert_everything_is_there()


@pytest.mark.parametrize("size", ["8k", "160k"])
def test_state_on_a_full_disk_goes_on_when_there_is_room(make_scene, runs, make_disk, size):
    disk = make_disk(size)
    scene = make_scene(state=disk.directory / "state.sqlite")
    scene.put(random.Random(1), 100)
    arguments = [*scene.arguments, "--once", "--flush-bytes-max", "1"]

    full = runs(*arguments, **scene.environment)
    assert (full.code, "full" in full.errors) == (1, True), full.errors
    disk.grow()

    assert runs(*arguments, **scene.environment).code in {0, 3}
    scene.assert_everything_is_there()


def test_state_on_a_disk_that_is_read_only_ends_with_2_and_says_so(make_scene, runs, make_disk):
    disk = make_disk("8m")
    scene = make_scene(state=disk.directory / "state.sqlite")
    assert runs(*scene.arguments, "--once", **scene.environment).code == 0
    disk.make_read_only()

    refused = runs(*scene.arguments, "--once", **scene.environment)

    assert (refused.code, "Read-only file system" in refused.errors) == (2, True), refused.errors
    assert "hint: let this user write the file" in refused.errors


def cut_off(state):
    os.truncate(state, 100)


def overwrite(state):
    with state.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def replace(state):
    state.write_bytes(b"not a database at all\n" * 100)


@pytest.mark.parametrize("damage", [cut_off, overwrite, replace])
def test_damaged_state_is_refused_and_without_it_the_run_goes_on_where_the_lake_ends(
    make_scene, runs, damage
):
    scene = make_scene()
    chance = random.Random(1)
    arguments = [*scene.arguments, "--once", "--flush-bytes-max", "2000"]
    scene.put(chance, 20)
    assert runs(*arguments, **scene.environment).code == 3
    scene.put(chance, 20)
    damage(scene.state)
    before = scene.found()

    refused = runs(*arguments, **scene.environment)
    assert (refused.code, "state: cannot open the file" in refused.errors) == (2, True), (
        refused.errors
    )
    assert (scene.found().events, scene.found().dead_letters) == (
        before.events,
        before.dead_letters,
    )

    scene.state.unlink()
    assert runs(*arguments, **scene.environment).code in {0, 3}
    scene.assert_everything_is_there()


def test_state_that_somebody_writes_to_is_not_passed_over(make_scene, runs):
    scene = make_scene()
    chance = random.Random(1)
    scene.put(chance, 20)
    assert runs(*scene.arguments, "--once", **scene.environment).code == 3
    scene.put(chance, 20)

    held = sqlite3.connect(scene.state)
    held.execute("BEGIN EXCLUSIVE")
    refused = runs(*scene.arguments, "--once", **scene.environment)
    held.close()
    assert (refused.code, "locked" in refused.errors) == (1, True), refused.errors

    assert runs(*scene.arguments, "--once", **scene.environment).code in {0, 3}
    scene.assert_everything_is_there()
