"""Transforms in float64 whose results have the same bits on every machine.

    float weights ── sums ──> weights on a grid         (once, when a transform is converted)
    features ── grid ── exact sums ── bias, ReLU, gains: single operations ──> features

Two arguments carry it. Convolutions and matrix products are exact: weights and inputs are rounded
to grids so coarse that every partial sum, in whatever order, is a number of float64 (`sums`). All
else is a sequence of single additions, multiplications, divisions and roundings, each of which has
one result by IEEE 754. An exponential, a sine or a sigmoid of a library has not, so they are
replaced by series of such operations (`functions`).
"""
