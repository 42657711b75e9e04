"""`omnigen2 reward`: host a reward for training on other machines."""

import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from omnigen2.commands.judging import load_reward
from omnigen2.commands.options import POSITIONAL, Parser, run_command
from omnigen2.errors import UserError

TOKEN = "OMNIGEN2_REWARD_TOKEN"  # noqa: S105  (the variable's name)
DESCRIPTION = f"""\
serve  hosts the reward that a recipe names, until Ctrl-C: POST /score, GET /health, GET /metrics. In training it is a
       omnigen2.rl.rewards.remote.RemoteReward with this server's URL.

  omnigen2 reward serve reward.yaml
  {TOKEN}=… omnigen2 reward serve reward.yaml --host 0.0.0.0 --port 8100

The recipe has one key:

  reward:
    class_path: omnigen2.rl.rewards.GenEvalReward
    init_args:
      detector: {{class_path: omnigen2.rl.rewards.Mask2FormerDetector, init_args: {{device: cuda}}}}
      colours: {{class_path: omnigen2.rl.rewards.ClipColourNamer, init_args: {{device: cuda}}}}

Addresses other than this machine's own need a token in the environment variable {TOKEN}.
"""


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What is served, and where.

    Attributes:
        action: What to do.
        recipe: Names the reward.
        host: The address to listen on.
        port: Its port; 0 takes a free one.
    """

    action: Literal["serve"] = field(metadata=POSITIONAL)
    recipe: Path = field(metadata=POSITIONAL)
    host: str = "127.0.0.1"
    port: int = 8100

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise UserError(f"--port is {self.port}", "use one from 1 to 65535, or 0 for a free one")


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    return run_command(Parser(ServeSettings, "reward", "serve RECIPE.yaml [options]", DESCRIPTION), arguments, _run)


def _run(settings: ServeSettings) -> None:
    from omnigen2.rl import RewardError

    token = os.environ.get(TOKEN) or None
    if token is None and not _is_loopback(settings.host):
        raise RewardError(
            f"{settings.host} can be reached from other machines and {TOKEN} is not set",
            "set it to a secret, or leave --host out",
        )
    try:
        import fastapi  # noqa: F401  # pyright: ignore[reportUnusedImport]  (create_app needs it; said before loading)
        import uvicorn

        from omnigen2.rl.rewards.remote import create_app
    except ModuleNotFoundError as error:
        raise RewardError(f"{error.name} is not installed", "pip install 'omnigen2[serve]'") from error
    reward = load_reward(settings.recipe)
    reward.probe()
    app = create_app(reward, token)
    with _bound(settings.host, settings.port) as listener:
        port = listener.getsockname()[1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"serving {type(reward).__name__} ({reward.description}) on http://{host}:{port}", flush=True)
        config = uvicorn.Config(app, log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
