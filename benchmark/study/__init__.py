"""Studies with people: the page that asks, raters, scores of their answers, the report."""
