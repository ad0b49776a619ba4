"""Verbs that analyse stored rows: reports, figures, comparisons, verdicts."""
