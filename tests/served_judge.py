"""A real OpenAI-compatible server for tests: `transformers serve` with a tiny random vision-language model.

The model answers noise, or always one letter: what is tested with it is that a server takes the pictures, and that its
answers are read as what they are.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import torch
from safetensors.torch import load_file, save_file

from omnigen2.encoders.tiny import write_tiny_processor, write_tiny_vlm

NEEDED = ("fastapi", "uvicorn", "openai", "accelerate", "starlette")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
"""What `transformers serve` lacks here; tests that need it skip if there is any."""

NEWLINE = "\u010a"
"""The letter that byte-level tokenizers write for a newline."""
TEMPLATE = """\
{%- for message in messages -%}<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content -%}
{%- if part.type == 'image' or 'image' in part or 'image_url' in part -%}<|vision_start|><|image_pad|><|vision_end|>
{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def write_tiny_judge(folder: Path, tied: bool = True) -> Path:
    """Write the model into a folder, with a chat template."""
    write_tiny_vlm(folder, tied=tied)
    write_tiny_processor(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@contextmanager
def transformers_serve(folder: Path) -> Iterator[str]:
    """Serve on loopback whatever model folder is asked for; gives the server's address.

    The folder holds the log, and nothing that could be found on the hub.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "hub").mkdir(exist_ok=True)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder), "HF_HUB_CACHE": str(folder / "hub")}
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve"]
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


def write_terse_judge(folder: Path, letter: str) -> Path:
    """Write a model that answers one letter, whatever it is asked and shown.

    Its embeddings are large against what the layers add, so only the last letter decides what comes next: after the
    newline that opens its turn the letter, after the letter the end.
    """
    write_tiny_judge(folder, tied=False)
    weights = load_file(folder / "model.safetensors")
    ids = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    embedding = weights["model.embed_tokens.weight"] * 20
    head = torch.zeros_like(weights["lm_head.weight"])
    head[ids[letter]], head[ids["<|im_end|>"]] = embedding[ids[NEWLINE]], embedding[ids[letter]]
    save_file(
        {**weights, "model.embed_tokens.weight": embedding, "lm_head.weight": head},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    return folder
