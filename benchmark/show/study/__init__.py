"""Folders of studies with people, and the report of their answers."""
