"""A reward out of the YAML file that names it."""

import re
from pathlib import Path
from typing import Any

from omnigen2.errors import UserError


def load_reward(recipe: Path) -> Any:
    """Build the `Reward` that a YAML file names under the key `reward`, with class_path and init_args.

    Raises:
        RewardError: If the file does not say how to build one.
        UserError: If the reward itself says so.
    """
    from jsonargparse import ArgumentError, ArgumentParser  # pyright: ignore[reportPrivateImportUsage]

    from omnigen2.files import read_yaml
    from omnigen2.rl import Reward, RewardError

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Reward, "reward", required=True)
    content = read_yaml(recipe, RewardError)
    if not isinstance(content, dict) or not isinstance(content.get("reward"), dict) or len(content) > 1:
        raise RewardError(f"{recipe} has not the one key reward, with class_path", "`omnigen2 reward --help` shows one")
    try:
        built: Any = parser.instantiate(parser.parse_object(content))
    except UserError:
        raise
    except (ArgumentError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        said = re.sub(r"^.*?Errors: - (.*?) - Expected a <class 'NoneType'>.*$", r"\1", said)
        raise RewardError(f"{recipe} names no reward that can be built ({said})", "correct its key reward") from error
    return built.reward
