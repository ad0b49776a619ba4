"""A generator of random numbers -> features of patches, correlated, of one set or of two."""

import numpy as np


def rotation(generator, size):
    return np.linalg.qr(generator.standard_normal((size, size)))[0]


def correlated(generator, samples, size, smallest=0.05):
    """Features with a mean, and standard deviations from 1 down along turned axes."""
    spread = np.geomspace(1, smallest, size)[:, None] * rotation(generator, size)
    return (generator.standard_normal((samples, size)) + 0.7) @ spread


def image_set(generator, images, size, most_patches):
    """Images of 1 to so many patches, those of one image alike, and a decoding of them."""
    counts = generator.integers(1, most_patches + 1, images)
    spread = np.geomspace(1, 0.05, size)[:, None] * rotation(generator, size)
    reference = [
        (generator.standard_normal((n, size)) + 0.6 * generator.standard_normal(size) + 1) @ spread
        for n in counts
    ]
    decoded = [0.9 * x + 0.3 * generator.standard_normal(x.shape) @ spread for x in reference]
    return reference, decoded
