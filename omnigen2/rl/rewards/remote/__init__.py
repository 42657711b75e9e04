"""Rewards and judges on other machines: clients of reward and chat servers, and a server that hosts any reward."""

from typing import Any

from omnigen2.rl.reward import Reward
from omnigen2.rl.rewards.remote.chat import (
    AnswerFormat,
    AnswerSettings,
    ChatClient,
    ChatQuestion,
    Schema,
    TokenField,
)
from omnigen2.rl.rewards.remote.remote import RemoteReward
from omnigen2.rl.rewards.remote.replies import unique_fields, writable
from omnigen2.rl.rewards.remote.transport import Limits

__all__ = [
    "AnswerFormat", "AnswerSettings", "ChatClient", "ChatQuestion", "Limits", "RemoteReward", "Schema", "TokenField",
    "create_app", "unique_fields", "writable",
]  # fmt: skip


def create_app(reward: Reward, token: str | None = None) -> Any:
    """The ASGI application that hosts a reward: `application` in `server.py`. Needs fastapi, of the extra `serve`."""
    from omnigen2.rl.rewards.remote.server import application

    return application(reward, token)
