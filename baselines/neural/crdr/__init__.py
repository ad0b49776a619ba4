"""CRDR, the method of this project: network, objective, sizes."""
