"""A real chat server as a judge: `transformers serve` with a tiny random vision-language model.

The model answers noise. So every judgement has to come back invalid for its own reason, and none as a number; what is
tested is that the server takes the pictures, and that its answers are read as what they are.
"""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

from omnigen2.encoders.tiny import write_tiny_processor, write_tiny_vlm
from omnigen2.rl.reward import Failure, RewardError, RewardRequest
from omnigen2.rl.rewards.chat import AnswerSettings, ChatClient, ChatQuestion
from omnigen2.rl.rewards.edit_score import EditScoreReward
from omnigen2.rl.rewards.judge import Judge

NEEDED = ("fastapi", "uvicorn", "openai", "accelerate", "starlette")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"transformers[serving] lacks {', '.join(MISSING)}")

TEMPLATE = """\
{%- for message in messages -%}<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content -%}
{%- if part.type == 'image' or 'image' in part or 'image_url' in part -%}<|vision_start|><|image_pad|><|vision_end|>
{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vlm")
    write_tiny_vlm(folder)
    write_tiny_processor(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "hub").mkdir()
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder), "HF_HUB_CACHE": str(folder / "hub")}
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve", str(folder)]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            for _ in range(600):
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


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
