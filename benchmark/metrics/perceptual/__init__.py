"""Full-reference metrics of what observers see: one file per metric or family of metrics."""
