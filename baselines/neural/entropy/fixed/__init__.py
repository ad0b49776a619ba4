"""Integer entropy path: the same means and scale indices on every machine.

    float weights ── grid ──> integer weights, shifts              (once, when a model is loaded)
    z symbols ── convolutions ──> supports ── hyperprior_coder ──> scale indices, means, y_hat

All computation after the weights is in integers, or in float64 whose every intermediate value it
holds exactly (`convolution.prove`): the order of summation, threads, batch and device cannot change
a bit.
"""
