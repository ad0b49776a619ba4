"""Tables of 64 Gaussian scales for the tests of the entropy coder."""

import pytest

from baselines.neural.entropy.coder import Distributions
from support.entropy.reference_coder import Table, distributions, gaussian_tables


@pytest.fixture(scope="package")
def gaussians() -> tuple[list[Table], Distributions]:
    tables = gaussian_tables()
    return tables, distributions(tables)
