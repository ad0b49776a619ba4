"""Rows of measurements on disk: schema, store, versions of a row, merging, provenance."""
