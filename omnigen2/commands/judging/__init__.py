"""Who judges pictures on the command line, and who chooses among them."""

from omnigen2.commands.judging.benchmark import judge_of
from omnigen2.commands.judging.choosing import NamedChooser, chooser_of
from omnigen2.commands.judging.reward_file import load_reward
from omnigen2.commands.judging.settings import FeatureSettings, JudgeSettings, chat_judge

__all__ = ["FeatureSettings", "JudgeSettings", "NamedChooser", "chat_judge", "chooser_of", "judge_of", "load_reward"]
