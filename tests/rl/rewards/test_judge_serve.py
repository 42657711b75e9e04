"""A real chat server as a judge: `transformers serve` with a tiny random vision-language model.

The model answers noise. So every judgement has to come back invalid for its own reason, and none as a number; what is
tested is that the server takes the pictures, and that its answers are read as what they are.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from omnigen2.rl import Failure, RewardError, RewardRequest
from omnigen2.rl.rewards import EditScoreReward, Judge
from omnigen2.rl.rewards.remote import AnswerSettings, ChatClient, ChatQuestion
from tests.served_judge import MISSING, transformers_serve, write_tiny_judge

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"transformers[serving] lacks {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_judge(tmp_path_factory.mktemp("vlm"))


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with transformers_serve(folder) as address:
        yield address


def test_a_chat_server_takes_pictures_and_its_noise_is_no_score(url: str, folder: Path) -> None:
    client = ChatClient([url], str(folder), image_side=56, settings=AnswerSettings(max_tokens=12))
    picture = torch.zeros(3, 64, 64)
    text = client.ask([ChatQuestion("Grade.", ("Picture:", picture, picture), {"type": "object"})])[0]
    assert isinstance(text, str) or text.cause == "cut off", text
    scores = EditScoreReward(Judge(client), passes=2).score([RewardRequest("make it red", picture, (picture,))] * 3)
    assert not bool(scores.valid.any())
    assert set(scores.causes()) <= {"cut off", "unreadable"}
    with pytest.raises(RewardError, match="gave no grades for a trial picture"):
        EditScoreReward(Judge(client)).probe()


def test_a_model_that_the_server_does_not_know_is_told(url: str) -> None:
    answer = ChatClient([url], "no-such-model").ask([ChatQuestion("Grade.", ("x",), {"type": "object"})])[0]
    assert isinstance(answer, Failure)
