"""Fakes, fixtures and small checkpoints that several tests share."""
