"""Studies with people: questions, raters, scores of their answers."""
