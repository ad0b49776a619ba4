"""Metrics of the decoded image alone, without its source: a file per metric or library."""
