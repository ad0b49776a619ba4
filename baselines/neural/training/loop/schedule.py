"""The learning rate of a stage, as a factor for each step."""

from baselines.neural.training.recipe import Stage


def rate_factor(stage: Stage, step: int) -> float:
    """Return the factor of the stage's learning rate in a step, counted from 0.

    It rises linearly over the warm-up, stays at 1 until `decay_at`, then drops to `final_share`,
    and further where the stage says so, or falls to it in a straight line.
    """
    if step < stage.warm_up_steps:
        return (step + 1) / stage.warm_up_steps
    start = stage.decay_at * stage.steps
    if step < start:
        return 1.0
    if stage.decay == "step":
        reached = [share for at, share in stage.further_falls if step >= at * stage.steps]
        return [stage.final_share, *reached][-1]
    gone = (step - start) / max(1.0, stage.steps - start)
    return 1.0 - (1.0 - stage.final_share) * min(1.0, gone)
