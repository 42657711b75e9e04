"""Two real processes with workers, reading the same chunks, share every epoch between them."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.data.chunks.test_chunks import SAMPLES, write

RANK = """
import json, sys
import torch.distributed
from omnigen2.data import Collate, Mixture, Planner, StreamingSource, TokenBudget
from omnigen2.pictures import ResizePolicy

folder, rank = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
sources = {name: StreamingSource(f"{folder}/chunks") for name in "ab"}
budget = TokenBudget(600, ResizePolicy(max_pixels=4096, multiple=8))
loader = Mixture(Planner(sources, {"a": 1, "b": 2}, budget), Collate(), 14, workers=2)
print(json.dumps([[(e.source, e.key) for e in batch.examples] for batch in loader]))
torch.distributed.destroy_process_group()
"""


def test_two_processes_share_every_epoch(tmp_path: Path) -> None:
    write(tmp_path / "chunks")
    command = [sys.executable, "-c", RANK, str(tmp_path)]
    ranks = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True) for rank in range(2)]
    told = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    first, second = (json.loads(text.splitlines()[-1]) for text in told)
    assert [batch[0][0] for batch in first] == [batch[0][0] for batch in second]
    count = Counter(tuple(key) for batch in (*first, *second) for key in batch)
    for name in "ab":
        drawn = [count[name, sample.key] for sample in SAMPLES]
        assert min(drawn) >= 1
        assert max(drawn) - min(drawn) <= 1
