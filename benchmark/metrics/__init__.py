"""Numbers that compare a decoded image with its source: one file a metric."""
