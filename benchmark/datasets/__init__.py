"""Named sets of photographs: one file a set."""
