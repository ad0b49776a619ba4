"""Full-reference metrics of what observers see: a file per metric or family of metrics."""
