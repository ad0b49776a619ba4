"""Analysis of stored rows: means, BD-rates, intervals, trade-offs."""
