"""Every class of the flow can be named in a recipe: jsonargparse builds it from class_path and init_args."""

from jsonargparse import ArgumentParser

from omnigen2 import flow

RECIPE = """
objective:
  sampler:
    class_path: omnigen2.flow.StratifiedTimes
    init_args: {distribution: {class_path: omnigen2.flow.LogitNormalTimes, init_args: {std: 2}}}
  shift: {class_path: omnigen2.flow.AtTokens, init_args: {shift: omnigen2.flow.ExponentialShift, tokens: 64}}
  weighting: omnigen2.flow.CosineMapWeighting
solver: {class_path: omnigen2.flow.DPMSolver, init_args: {order: 3}}
noise_level: {class_path: omnigen2.flow.FlowGRPONoise, init_args: {scale: 1}}
guidance:
  class_path: omnigen2.flow.RescaledGuidance
  init_args: {inner: {class_path: omnigen2.flow.TextImageGuidance, init_args: {text_scale: 4, image_scale: 1.6}}}
"""


def test_a_recipe_builds_what_it_names() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(flow.RectifiedFlowObjective, "objective")
    parser.add_argument("--solver", type=flow.Solver)
    parser.add_argument("--noise_level", type=flow.NoiseLevel)
    parser.add_argument("--guidance", type=flow.Guidance)
    built = parser.instantiate_classes(parser.parse_string(RECIPE))
    assert built.objective.sampler == flow.StratifiedTimes(flow.LogitNormalTimes(0.0, 2.0))
    assert built.objective.shift == flow.AtTokens(flow.ExponentialShift(), 64)
    assert built.objective.weighting == flow.CosineMapWeighting()
    assert built.solver == flow.DPMSolver(3)
    assert built.noise_level == flow.FlowGRPONoise(1.0)
    assert built.guidance == flow.RescaledGuidance(flow.TextImageGuidance(4.0, 1.6))
