"""ELIC: uneven channel groups with a checkerboard context (He et al., CVPR 2022)."""
