"""The verbs of the command `bench`: one file per verb; nothing else of the harness prints."""
