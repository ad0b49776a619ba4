"""Integer entropy path: the same means and scale indices on every machine."""
