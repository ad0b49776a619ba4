"""The verbs of the command `bench`: one file a verb; the only place that prints."""
