"""A reward that runs on other machines, behind `omnigen2 reward serve`."""

import secrets
from collections.abc import Sequence

from typing_extensions import override

from omnigen2.rl.reward import Failure, Outcome, Reward, RewardError, RewardRequest, Scores, unusable_picture
from omnigen2.rl.rewards.remote.replies import Reply
from omnigen2.rl.rewards.remote.transport import Call, JsonPoster, Limits
from omnigen2.rl.rewards.remote.wire import BAD_REPLY, Item, pack_request, unpack_scores


class RemoteReward(Reward):
    """Sends pictures to reward servers and takes their scores back.

    The servers all host the same reward; calls are spread over them, and what one does not answer, or answers with
    something that is no score of what was sent, is asked of another. Pictures travel as PNG files of 8 bits per
    channel. A picture that nobody has scored is invalid.

    Args:
        urls: Such as `http://127.0.0.1:8100`, at least one.
        low: The least value of the reward; `probe` compares it with what the servers say.
        high: The largest.
        part_names: The names of its parts.
        batch_size: Pictures per call, at least 1; a call goes to one server.
        token_variable: The environment variable with the servers' token; None if they want none.

    Raises:
        RewardError: If a setting cannot be used.
    """

    remote = True

    def __init__(
        self,
        urls: Sequence[str],
        low: float = 0.0,
        high: float = 1.0,
        part_names: Sequence[str] = (),
        batch_size: int = 4,
        token_variable: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        if not low < high or batch_size < 1:
            raise RewardError(
                f"RemoteReward needs low < high and a batch of at least 1, got {low}, {high}, {batch_size}"
            )
        self.low, self.high = low, high
        self.part_names = tuple(part_names)
        self.description = "scored by reward servers"
        self.batch_size = batch_size
        self.poster = JsonPoster(urls, limits, token_variable)

    @override
    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        """Causes are those of the reward, or say that no usable answer came."""
        outcomes: list[Outcome | None] = [unusable_picture(request) for request in requests]
        open_ones = [number for number, outcome in enumerate(outcomes) if outcome is None]
        chunks = [open_ones[i : i + self.batch_size] for i in range(0, len(open_ones), self.batch_size)]
        call_id = secrets.token_hex(8)
        sent: list[list[Item]] = [[] for _ in chunks]

        def call(number: int) -> Call:
            def body() -> Item:
                sent[number] = [pack_request(requests[i], f"{call_id}-{i}") for i in chunks[number]]
                return {"requests": sent[number]}

            return body

        def usable(number: int, reply: Reply) -> bool:
            found = unpack_scores(reply, sent[number], self)
            return not any(isinstance(one, Failure) and one.cause == BAD_REPLY for one in found)

        replies = self.poster.post_all("/score", [call(number) for number in range(len(chunks))], usable)
        for chunk, items, reply in zip(chunks, sent, replies, strict=True):
            found = [reply] * len(chunk) if isinstance(reply, Failure) else unpack_scores(reply, items, self)
            for i, outcome in zip(chunk, found, strict=True):
                outcomes[i] = outcome
        return Scores.collect([one for one in outcomes if one is not None], self.part_names)

    @override
    def probe(self) -> None:
        """Ask every server whether it is there and hosts a reward of this range and with these parts.

        Raises:
            RewardError: If one is not.
        """
        for number, health in enumerate(self.poster.get_each("/health"), 1):
            name = f"reward server {number} of {len(self.poster.urls)}"
            if isinstance(health, Failure):
                raise RewardError(
                    f"{name} is not ready ({health}); start it with `omnigen2 reward serve`, or leave it out"
                )
            theirs = (health.get("low"), health.get("high"), health.get("part_names"))
            if theirs != (self.low, self.high, list(self.part_names)):
                raise RewardError(
                    f"{name} hosts a reward with low, high and part_names {theirs}, the settings here say "
                    f"{(self.low, self.high, list(self.part_names))}; write what it says"
                )
