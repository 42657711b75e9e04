"""Who chooses the best of several pictures, in `omnigen2 generate` and `evaluate`."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omnigen2.commands.judging.reward_file import load_reward
from omnigen2.commands.judging.settings import JudgeSettings, chat_judge, probe
from omnigen2.errors import UserError
from omnigen2.generate import Chooser, Job, Picture, Request
from omnigen2.microworld.tasks import (
    Caption,
    ContextTask,
    EditTask,
    MicroContextReward,
    MicroEditReward,
    MicroGenEvalReward,
    from_json,
)
from omnigen2.microworld.world import TOLERANCE
from omnigen2.pictures import ImageReader, to_pixels
from omnigen2.rl import Outcome, Reward, RewardRequest, check_scores


@dataclass(frozen=True)
class NamedChooser:
    """Who chooses.

    Attributes:
        choose: Does it.
        by: What pictures call it: `NAME: how`.
        check: Finds out before anything is drawn whether the pictures of these jobs, at least one, can be judged; it
            raises a `UserError` if not.
    """

    choose: Chooser
    by: str
    check: Callable[[Sequence[Job]], None]


def chooser_of(settings: JudgeSettings, words: Sequence[str], model: str | None, context: bool = False) -> NamedChooser:
    """Who chooses among the pictures of each job.

    Args:
        words: Addresses, `rules`, or the recipe of a reward.
        model: Of the servers.
        context: Whether also pictures of a single reference are in-context ones, and no edits.

    Raises:
        UserError: If they do not go together.
    """
    if all(word.startswith(("http://", "https://")) for word in words):
        return _chat_chooser(settings, words, model, context)
    if len(words) > 1:
        raise UserError(f"got the judges {', '.join(words)}", "only several servers of one model go together")
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", words[0]):
        raise UserError(f"the judge {words[0]!r} is no address of a server", f"did you mean http://{words[0]}?")
    if words[0] == "rules":
        return _rules_chooser(TOLERANCE if settings.tolerance is None else settings.tolerance)
    if not words[0].endswith((".yaml", ".yml")) or not Path(words[0]).is_file():
        raise UserError(
            f"there is no judge {words[0]!r} to choose with",
            "name a server's address such as http://127.0.0.1:8000/v1, rules, or a reward's .yaml file",
        )
    reward = load_reward(Path(words[0]))
    by = f"{type(reward).__name__}: {reward.description}"
    return NamedChooser(_by_rewards(lambda picture: reward), by, lambda jobs: reward.probe())


def _chat_chooser(settings: JudgeSettings, words: Sequence[str], model: str | None, context: bool) -> NamedChooser:
    from omnigen2.rl.rewards import EditScoreReward, InContextReward, TextToImageReward

    if model is None:
        raise UserError("--judge_model is missing", "pictures must say who has chosen")
    judge, passes = chat_judge(settings, words, model), settings.judge_passes
    in_context = InContextReward(judge, passes)
    rewards = (TextToImageReward(judge, passes), in_context if context else EditScoreReward(judge, passes), in_context)

    def reward_of(request: Request) -> Reward:
        return rewards[min(len(request.images), 2)]

    side = settings.judge_image_side or "any"
    how = f"temperature {settings.judge_temperature}, seed {settings.judge_seed}, passes {passes}, side {side}"
    choose = _by_rewards(lambda picture: reward_of(picture.request))
    return NamedChooser(choose, f"{model}: {how}", lambda jobs: probe(reward_of(jobs[0].request)))


def _rules_chooser(tolerance: float) -> NamedChooser:
    rewards: dict[type, Reward] = {
        Caption: MicroGenEvalReward("graded", tolerance),
        EditTask: MicroEditReward(tolerance),
        ContextTask: MicroContextReward(tolerance),
    }

    def check(jobs: Sequence[Job]) -> None:
        for job in jobs:
            try:
                known = type(from_json(job.request.meta)) in rewards
            except (ValueError, TypeError, RecursionError):
                known = False
            if not known:
                raise UserError(
                    f"{job.where or job.out} has no task of the micro-world, which the rules need",
                    'give it in a line of --from_file, "meta": the task as `omnigen2 microworld tasks` writes it',
                )

    choose = _by_rewards(lambda picture: rewards[type(from_json(picture.request.meta))])
    return NamedChooser(choose, f"rules: tolerance {tolerance:g}", check)


def _by_rewards(reward_of: Callable[[Picture], Reward]) -> Chooser:
    """Chooses by the reward that fits each picture; those of one reward are scored together."""

    def request_of(picture: Picture) -> RewardRequest:
        asked = picture.request
        shown = [ImageReader().read(one) if isinstance(one, str | Path | bytes) else one for one in asked.images]
        references = tuple(map(to_pixels, shown))
        return RewardRequest(asked.prompt, to_pixels(picture.image), references, asked.meta, f"seed {asked.seed}")

    def choose(pictures: Sequence[Picture]) -> list[Outcome]:
        rewards = [reward_of(picture) for picture in pictures]
        found: dict[int, Outcome] = {}
        for reward in dict.fromkeys(rewards):
            own = [number for number, one in enumerate(rewards) if one is reward]
            requests = [request_of(pictures[number]) for number in own]
            found |= zip(own, check_scores(reward, requests, reward.score(requests)).outcomes(), strict=True)
        return [found[number] for number in range(len(pictures))]

    return choose
