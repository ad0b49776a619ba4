"""Transforms in float64 whose results have the same bits on every machine.

Convolutions and matrix products are exact: weights and inputs are rounded to grids so coarse that
every partial sum, in whatever order, is a number of float64 (`layers`). All else is a sequence of
single additions, multiplications, divisions and roundings, each of which has one result by IEEE
754; exponentials, sines and sigmoids are series of such operations (`functions`).
"""
