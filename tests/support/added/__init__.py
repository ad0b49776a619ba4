"""What somebody adds: a dataset, metrics, an architecture, objectives."""
