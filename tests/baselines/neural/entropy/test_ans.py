"""The entropy coder without constriction writes the same bytes as constriction."""

from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.neural.entropy import ans, coder
from baselines.neural.entropy.coder import SymbolDecoder, SymbolEncoder
from support.entropy.reference_coder import distributions
from support.metrics.cases import in_new_python
from support.networks.streams import STREAMS

CACHED = (coder._row_model, coder._class_model, coder._uniform, coder._require_exact_coder)


@contextmanager
def code_in_python():
    """Have the coder of this module work without constriction."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AnsCoder", "Categorical", "Uniform"):
            patch.setattr(coder, name, getattr(ans, name))
        for function in CACHED:
            function.cache_clear()
        yield
    for function in CACHED:
        function.cache_clear()


@st.composite
def any_message(draw: st.DrawFn):
    """Tables, rows and symbols (some escape), and symbols with one distribution each."""
    cuts = draw(st.sets(st.integers(1, 65535), min_size=1, max_size=20))
    tables = [(-3, [b - a for a, b in pairwise([0, *sorted(cuts), 65536])]), (0, [65535, 1])]
    symbols = draw(st.lists(st.integers(-9, 30) | st.integers(-32768, 32767), max_size=60))
    rows = np.array([n % 2 for n in symbols], np.uint8)
    skewed = draw(st.lists(st.integers(1, 2**24 - 3), max_size=9))
    frequencies = np.array([[1, n, 2**24 - 1 - n - 1, 1] for n in skewed]).reshape(-1, 4)
    return tables, np.array(symbols, np.int32), rows, frequencies


def coded(message) -> bytes:
    """Return the bytes of a message, from which it was decoded again."""
    tables, symbols, rows, frequencies = message
    numbers, tables_of_rows = np.arange(len(frequencies)) % 4, distributions(tables)
    encoder = SymbolEncoder()
    encoder.add(symbols, tables_of_rows, rows)
    encoder.add_each(numbers, frequencies)
    decoder = SymbolDecoder(data := encoder.finish())
    assert decoder.take(tables_of_rows, rows).tolist() == symbols.tolist()
    assert decoder.take_each(frequencies).tolist() == numbers.tolist()
    decoder.finish()
    return data


@settings(max_examples=100, deadline=None)
@given(any_message())
def test_both_coders_write_the_same_bytes(message):
    pytest.importorskip("constriction")
    expected = coded(message)
    with code_in_python():
        assert coded(message) == expected


@pytest.mark.slow
def test_bundled_networks_code_the_same_without_constriction():
    block = 'import sys; sys.modules["constriction"] = None'
    assert in_new_python(block + STREAMS) == in_new_python(STREAMS)
