"""Training of CRDR: objectives, draws of its controls, discriminators, the paper's ablations."""
