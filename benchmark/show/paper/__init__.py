"""The figures of the paper: which rows, streams and pictures each of them shows."""
