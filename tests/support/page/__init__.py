"""Report pages, made and opened."""
