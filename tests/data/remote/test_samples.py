"""Samples from far away are those of the disk, in the same order, in any process."""

from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from omnigen2.data import StreamingSource
from tests.data.chunks.test_chunks import write
from tests.data.remote.servers import WebServer


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_far_away_are_those_of_the_disk_in_the_same_order(workers: int, web: WebServer, tmp_path: Path) -> None:
    folder = web.folders["data/samples"] = write(tmp_path / "all", chunk_bytes=1000)
    near, far = StreamingSource(folder), StreamingSource(f"{web.url}/data/samples")
    assert [far.sizes(index) for index in range(len(far))] == [near.sizes(index) for index in range(len(near))]
    for epoch in range(2):
        order = [(7 * index + epoch) % len(near) for index in range(len(near))]
        loader = DataLoader(far, batch_size=None, sampler=order, num_workers=workers)
        assert list(loader) == [near[index] for index in order]
    assert {web.asked[file.name] for file in folder.iterdir()} == {1}
