"""Metrics of the decoded image alone, without its source: one file per metric or library."""
