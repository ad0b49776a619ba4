"""Charm: channel-wise autoregressive entropy models (Minnen and Singh, ICIP 2020)."""
