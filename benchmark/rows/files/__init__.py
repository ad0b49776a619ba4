"""Files of a results folder that are checked when they are read: shards of rows, streams."""
