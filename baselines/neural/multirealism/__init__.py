"""Multi-Realism image compression with a conditional generator (Agustsson et al., CVPR 2023)."""
