"""What does not fit is refused before anything is loaded, with what would fit."""

from pathlib import Path

import pytest
import torch

from omnigen2.generate import (
    Estimate,
    ModelFolder,
    Request,
    RoomError,
    Sampling,
    Way,
    check_room,
    default_dtype,
    estimate,
    planner_of,
)
from omnigen2.generate.memory import Need, free_memory
from omnigen2.generate.memory.machine import free_on_host

CPU = torch.device("cpu")


def need(folder: Path, way: Way, device: str = "cpu") -> Estimate:
    model = ModelFolder(folder)
    plan = planner_of(model)(Request(prompt="a", height=512, width=512))
    return estimate(model, [plan], Sampling(), way.dtype, way.offload, way.vae_memory, device)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_way_needs_no_more_than_the_one_before(half: Path, device: str, dtype: torch.dtype) -> None:
    needs = [need(half, Way(dtype, offload), device) for offload in ("none", "idle", "stages", "blocks")]
    assert [one.peak for one in needs] == sorted((one.peak for one in needs), reverse=True)
    assert [one.own for one in needs] == sorted((one.own for one in needs), reverse=True)
    for one in needs:
        weights = sum(part.bytes for part in one.weights)
        assert (one.own < one.peak) == (device == "cpu" and dtype == torch.bfloat16)
        assert one.peak <= weights + sum(part.bytes for part in one.work)


@pytest.mark.parametrize("device", [CPU, torch.device("cuda")])
def test_what_is_named_fits_by_the_same_estimate(half: Path, device: torch.device) -> None:
    way = Way(torch.float32)
    every = sorted(
        need(half, Way(dtype, offload, memory), device.type).own
        for dtype in (torch.float32, torch.bfloat16)
        for offload in ("none", "idle", "stages", "blocks")
        for memory in ("one_by_one", "tiled")
    )
    for free in {number + more for number in every for more in (-1, 0)}:
        wanted = need(half, way, device.type)
        if wanted.own <= free:
            assert check_room(lambda other: need(half, other, device.type), way, device, free) == wanted
            continue
        with pytest.raises(RoomError, match="drawing needs about .* GB are free") as refused:
            check_room(lambda other: need(half, other, device.type), way, device, free)
        if "nothing here" in str(refused.value):
            assert free < every[0]
        else:
            assert free >= every[0]


def test_what_is_named_first_costs_least(half: Path) -> None:
    way = Way(torch.bfloat16)
    works = need(half, way, "cuda")
    with pytest.raises(RoomError) as refused:
        check_room(lambda other: need(half, other, "cuda"), way, torch.device("cuda"), works.own - 1)
    assert refused.value.arguments["offload"] == "set {} to idle"


def test_several_changes_are_named_where_none_alone_is_enough() -> None:
    def large(way: Way) -> Estimate:
        transformer, vlm, vae = (Need("", 0, size * way.dtype.itemsize) for size in (25, 25, 2))
        decoding = 20 if way.vae_memory == "tiled" else 200
        return Estimate((transformer, vlm, vae), (Need("", 0, 5), Need("", 0, decoding)), way.offload)

    with pytest.raises(RoomError, match=r"several changes: set vae_memory to tiled and offload to stages$"):
        check_room(large, Way(torch.float32), torch.device("cuda"), 110)
    with pytest.raises(RoomError, match="nothing here makes it fit"):
        check_room(large, Way(torch.float32), torch.device("cuda"), 10)


def test_pages_of_files_are_no_reason_to_refuse(half: Path) -> None:
    stored, wide = need(half, Way(torch.bfloat16)), need(half, Way(torch.float32))
    assert stored.own == max(part.bytes for part in stored.work)
    assert wide.own == wide.peak
    with pytest.raises(RoomError) as refused:
        check_room(lambda other: need(half, other), Way(torch.float32), CPU, wide.own - 1)
    assert refused.value.arguments["dtype"] == "set {} to bfloat16"
    assert "--dtype" in refused.value.advice({"dtype", "offload"})


def test_the_number_format_where_nobody_says(half: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for able, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("omnigen2.generate.memory.placement.multiplies_bfloat16", lambda able=able: able)
        assert default_dtype(ModelFolder(half), CPU, free=10**12) == (expected, "")
        assert default_dtype(ModelFolder(model), CPU, free=10**12) == (torch.float32, "")
        assert default_dtype(ModelFolder(model), torch.device("cuda"), free=0) == (torch.bfloat16, "")
    dtype, reason = default_dtype(ModelFolder(half), CPU, free=10**6)
    assert dtype == torch.bfloat16
    assert "in float32, 0.0 GB of memory are free: bfloat16 is used" in reason


def kernel(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_of_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = "MemTotal: 9000 kB\nMemAvailable: 4000 kB\n"


@pytest.mark.parametrize(
    ("told", "limits", "expected"),
    [
        ("0::/a/b\n", {}, 4000),
        ("0::/a/b\n", {"a/memory.max": 3072, "a/memory.current": 1024}, 2),
        ("0::/a/b\n", {"a/memory.max": "max", "a/memory.current": 1024}, 4000),
        ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": 5120, "memory/a/memory.usage_in_bytes": 4096}, 1),
        ("4:memory:/elsewhere\n", {"memory/memory.limit_in_bytes": 2048, "memory/memory.usage_in_bytes": 4096}, 0),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": 1 << 62, "memory/a/memory.usage_in_bytes": 1}, 4000),
    ],
)
def test_limits_of_control_groups_count(tmp_path: Path, told: str, limits: dict[str, object], expected: int) -> None:
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": told}
    files |= {f"sys/fs/cgroup/{name}": str(value) for name, value in limits.items()}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_on_host(tmp_path) == expected * 1024


def test_cached_files_of_a_group_count_as_free(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "4096",
        "sys/fs/cgroup/memory.current": "4000",
        "sys/fs/cgroup/memory.stat": "anon 1000\nactive_file 900\ninactive_file 100\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_on_host(tmp_path) == 1096


def test_where_nobody_tells_nothing_is_refused(half: Path, tmp_path: Path) -> None:
    assert free_on_host(tmp_path) is None
    assert free_memory(torch.device("meta")) is None
    check_room(lambda way: need(half, way), Way(torch.float32), torch.device("meta"))
