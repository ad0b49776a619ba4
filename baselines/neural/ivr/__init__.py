"""IVR: interpolation variable-rate image compression (Sun et al., ACM MM 2021)."""
