"""Verdicts on codecs and checkpoints that may have become worse: baselines, limits, histories."""
