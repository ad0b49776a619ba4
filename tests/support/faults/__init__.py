"""Faults and what they do: lost power, programs that misbehave."""
