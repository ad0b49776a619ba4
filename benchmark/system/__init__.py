"""Programs, weights, caches, devices and digests: what the harness asks of the machine."""
