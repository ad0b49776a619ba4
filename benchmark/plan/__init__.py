"""The plan of a run: which cells it consists of, which are done, and how long the rest takes."""
