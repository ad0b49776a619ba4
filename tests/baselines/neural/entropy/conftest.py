"""Tables of 64 Gaussian scales for the tests of the entropy coder."""

import pytest

from support.entropy.reference_coder import distributions, gaussian_tables


@pytest.fixture(scope="package")
def gaussians():
    tables = gaussian_tables()
    return tables, distributions(tables)
