"""Integer entropy path: the same means and scale indices on every machine.

    float weights ── grid ──> integer weights, shifts, bounds      (once, when a model is loaded)
    z symbols ── network ──> supports ── entropy_path ──> scale indices, means ── symbols ──> y_hat
                   │
                   └── convolution: in float64 (reference), or as products of matrices in float64
                       (float64_products) or int8 (limbs), chosen by selftest

All computation after the weights is in integers, or in float64 whose every intermediate value is an
integer, or an integer over a power of two, that float64 holds exactly (`bounds` proves it from the
weights): the order of summation, threads, batch and device cannot change a bit.
"""
