"""Reflection data: prompts are drawn, a judge says what is wrong, and better pictures follow, round after round."""

from omnigen2.curation.reflection.attempts import Attempt, Attempts, How, Outcome, Try
from omnigen2.curation.reflection.chat import ChatReflector
from omnigen2.curation.reflection.folder import Reflections, RoundPlan
from omnigen2.curation.reflection.judge import ReflectionJudge, Shown, Unjudged, Verdict
from omnigen2.curation.reflection.prompts import Prompt, read_prompts
from omnigen2.curation.reflection.rounds import Drawer, Mending, Model, Show, reflect

__all__ = [
    "Attempt", "Attempts", "ChatReflector", "Drawer", "How", "Mending", "Model", "Outcome", "Prompt",
    "ReflectionJudge", "Reflections", "RoundPlan", "Show", "Shown", "Try", "Unjudged", "Verdict", "read_prompts",
    "reflect",
]  # fmt: skip
