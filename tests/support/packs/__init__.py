"""Packs, made and spoilt."""
