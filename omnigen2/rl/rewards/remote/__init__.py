"""TODO."""

from omnigen2.rl.rewards.remote.chat import AnswerFormat, AnswerSettings, ChatClient, ChatQuestion, Schema
from omnigen2.rl.rewards.remote.remote import RemoteReward
from omnigen2.rl.rewards.remote.transport import DEADLINE, NO_ANSWER, Limits

__all__ = [
    "DEADLINE", "NO_ANSWER", "AnswerFormat", "AnswerSettings", "ChatClient", "ChatQuestion", "Limits", "RemoteReward",
    "Schema",
]  # fmt: skip
