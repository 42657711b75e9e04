"""Two processes of torch.distributed: together they see every sample of every epoch, and one of them goes on alone."""

import json
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from omnigen2.data import Collate, Mixture, Planner, StreamingSource, TokenBudget
from omnigen2.pictures import ResizePolicy
from tests.data.chunks.test_chunks import SAMPLES, write

RANK = """
import json, sys
from itertools import islice
import torch.distributed
from tests.data.batches.test_ranks import keys, loader

folder, rank = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
first = loader(folder, 2)
begun = keys(islice(first, 5))
state = first.state_dict()
second = loader(folder, 0)
second.load_state_dict(state)
print(json.dumps({"begun": begun, "state": state, "rest": keys(second), "whole": keys(loader(folder, 0))}))
torch.distributed.destroy_process_group()
"""


def loader(folder: str | Path, workers: int) -> Mixture:
    sources = {name: StreamingSource(f"{folder}/chunks") for name in "ab"}
    budget = TokenBudget(600, ResizePolicy(max_pixels=4096, multiple=8))
    return Mixture(Planner(sources, {"a": 1, "b": 2}, budget), Collate(), 14, workers)


def keys(batches: Any) -> list[list[list[str]]]:
    return [[[e.source, e.key] for e in batch.examples] for batch in batches]


def count(*parts: list[list[list[str]]]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(key) for part in parts for batch in part for key in batch)


def test_two_processes_share_every_epoch_go_on_where_they_were_and_leave_the_rest_to_one(tmp_path: Path) -> None:
    write(tmp_path / "chunks")
    command = [sys.executable, "-c", RANK, str(tmp_path)]
    ranks = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True) for rank in range(2)]
    told = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    first, second = (json.loads(text.splitlines()[-1]) for text in told)
    assert first["state"] == second["state"]
    for rank in (first, second):
        assert rank["begun"] + rank["rest"] == rank["whole"]
    assert [batch[0][0] for batch in first["whole"]] == [batch[0][0] for batch in second["whole"]]
    whole = count(first["whole"], second["whole"])
    assert {(name, sample.key) for name in "ab" for sample in SAMPLES} == set(whole)

    alone = loader(tmp_path, 0)
    alone.load_state_dict(first["state"])
    seen = count(first["begun"], second["begun"])
    for batch in islice(keys(alone), 14):
        seen += count([batch])
        for name in "ab":  # each rank had begun its first epoch only
            drawn = [seen[name, sample.key] for sample in SAMPLES]
            assert max(drawn) <= 1 or min(drawn) >= 1
