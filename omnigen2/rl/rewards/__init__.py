"""Rewards for real pictures: judges behind a chat server, detectors, and rewards on other machines.

Nothing is imported here; name the module, such as `omnigen2.rl.rewards.edit_score.EditScoreReward`.
"""
