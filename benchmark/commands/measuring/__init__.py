"""Verbs that measure: what can be measured here, fetched, planned, measured, scored again."""
