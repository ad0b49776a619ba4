"""Methods of the field: a file for each network, their dimensions, their objectives."""
