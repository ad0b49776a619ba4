"""Processes that end with the one they work for, and folders that do not outlive their owner."""
