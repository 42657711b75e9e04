"""`omnigen2 reward`: host a reward for training on other machines."""

import argparse
import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omnigen2.commands.parser import Parser, run_command

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


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows the word `reward`.

    Returns:
        The exit status.
    """
    parser = Parser("reward", "serve RECIPE.yaml [options]", DESCRIPTION)
    parser.add_argument("action", choices=["serve"], help="what to do")
    parser.add_argument("recipe", type=Path, metavar="RECIPE.yaml", help="names the reward")
    parser.option("--host", default="127.0.0.1", metavar="ADDRESS", help="listen there (default 127.0.0.1)")
    parser.option("--port", type=int, default=8100, metavar="N", help="0 takes a free one (default 8100)")
    return run_command(parser, arguments, _run)


def load_reward(recipe: Path) -> Any:
    """Build the reward that a recipe names.

    Args:
        recipe: A YAML file with the key `reward`: class_path and init_args.

    Returns:
        A `Reward`.

    Raises:
        RewardError: If the file does not say how to build one.
    """
    from jsonargparse import ArgumentError, ArgumentParser  # pyright: ignore[reportPrivateImportUsage]

    from omnigen2.rl import Reward, RewardError

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Reward, "reward", required=True)
    if not recipe.is_file():
        raise RewardError(f"there is no recipe {recipe}; name a YAML file")
    try:
        built: Any = parser.instantiate(parser.parse_path(recipe))
    except (ArgumentError, TypeError) as error:
        said = " ".join(str(error).split())
        raise RewardError(
            f"{recipe.name} names no reward that can be built ({said}); correct its key reward"
        ) from error
    return built.reward


def _run(options: argparse.Namespace) -> None:
    from omnigen2.rl import RewardError

    if not 0 <= options.port < 2**16:
        raise RewardError(f"--port is {options.port}; use one from 1 to 65535, or 0 for a free one")
    token = os.environ.get(TOKEN) or None
    if token is None and not _is_loopback(options.host):
        raise RewardError(
            f"{options.host} can be reached from other machines and {TOKEN} is not set; set it to a secret, or leave "
            "--host out"
        )
    try:
        import uvicorn

        from omnigen2.rl.rewards.remote.server import create_app
    except ModuleNotFoundError as error:
        raise RewardError(f"{error.name} is not installed; pip install 'omnigen2[serve]'") from error
    reward = load_reward(options.recipe)
    reward.probe()
    app = create_app(reward, token)
    with _bound(options.host, options.port) as listener:
        port = listener.getsockname()[1]
        host = f"[{options.host}]" if ":" in options.host else options.host
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
