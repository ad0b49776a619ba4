"""The report of a dataset: figures, tables and text from stored rows."""
