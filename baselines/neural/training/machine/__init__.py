"""What a run computes on: its processes, their precision, steps that are left out."""
