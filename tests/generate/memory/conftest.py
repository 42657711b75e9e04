"""A small model in bfloat16 whose files are sharded as those of the released one are."""

from dataclasses import replace
from pathlib import Path

import pytest

from omnigen2.generate import Sizes, make_full
from omnigen2.generate.tiny import CONFIG

SMALL = Sizes(
    transformer=replace(CONFIG, num_layers=3),
    text={
        "vocab_size": 264,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
    },
    vision={
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 64,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    },
    channels=(8, 8, 8, 8),
    shard=300_000,
)


@pytest.fixture(scope="session")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_full(tmp_path_factory.mktemp("models") / "half", SMALL)
