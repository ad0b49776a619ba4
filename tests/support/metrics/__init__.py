"""Features by which sets of images are compared."""
