"""The same work by Ray: the same examples, also where workers die, and nothing that can be reached from outside."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from omnigen2.curation import CurationError, InProcess, RayEngine, Resources, Store, curate
from omnigen2.curation.on_ray import probe
from tests.curation.parts import recipe, write_clips
from tests.curation.test_curate import TEXTS, content_of, said


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
    """One Ray for all tests; an engine takes the one that is there."""
    engine = RayEngine(cpus=2, patience=60.0)
    with engine.running():
        yield engine


def test_by_ray_is_as_in_process(tmp_path: Path, engine: RayEngine) -> None:
    clips, made = write_clips(tmp_path / "clips", *TEXTS), recipe(tmp_path, grade={"workers": 1})
    for out, by in (("here", InProcess()), ("ray", engine)):
        curate(made, clips, tmp_path / out, by)
    assert content_of(tmp_path / "ray") == content_of(tmp_path / "here")


@pytest.mark.slow
def test_a_clip_that_kills_its_workers_costs_itself(tmp_path: Path, engine: RayEngine) -> None:
    clips = write_clips(tmp_path / "clips", "0.5 a cat", "0.5 die\n0.5 a dog", "0.5 a hen")
    curate(recipe(tmp_path, grade={"workers": 1}), clips, tmp_path / "out", engine)
    assert said(tmp_path / "out") == ["a cat", "a hen"]
    ended = [end for one in Store(tmp_path / "out").finished() for end in one.ended]
    assert [(end.step, end.reason) for end in ended] == 2 * [("grade", "its worker died")]


def test_workers_that_leave_no_core_are_refused(engine: RayEngine) -> None:
    engine.check([Resources(0.5, workers=2)])
    with pytest.raises(CurationError, match="take 1.5 CPUs of 2, and one has to be left"):
        engine.check([Resources(0.5, workers=3)])
    with pytest.raises(CurationError, match="take 1 GPUs of 0"):
        engine.check([Resources(0.1, 1.0, workers=1)])


def test_nobody_outside_reaches_it(engine: RayEngine) -> None:
    states = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    mine = _sockets_of_ray()
    listening = {state[1].partition(":")[0] for state in states if state[3] == "0A" and state[9] in mine}
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    assert listening
    assert listening <= loopback


def _sockets_of_ray() -> set[str]:
    """The inodes of sockets of all processes below this one."""
    found: set[str] = set()
    me = Path("/proc/self").resolve().name
    children: dict[str, tuple[str, list[str]]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = status.read_text().rpartition(")")[2].split()[1]
            links = [str(link.readlink()) for link in (status.parent / "fd").iterdir()]
        except OSError:
            continue
        children[status.parent.name] = parent, [link[8:-1] for link in links if link.startswith("socket:[")]
    below = {me}
    for _ in range(5):
        below |= {name for name, (parent, _) in children.items() if parent in below}
    for name in below - {me}:
        found.update(children[name][1])
    return found


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:99999", "ray://127.0.0.1:10001", "127.0.0.1:1"])
def test_an_address_where_nobody_is_is_told_at_once(address: str) -> None:
    with pytest.raises(CurationError, match="nobody serves Ray|write HOST:PORT"):
        probe(address)
