"""Ways to carry out cells: same cells, same rows."""
