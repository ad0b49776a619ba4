"""Review of what an author sends, and the site of reviewed results."""
