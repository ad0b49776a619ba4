"""HiFiC: high-fidelity generative image compression (Mentzer et al., NeurIPS 2020)."""
