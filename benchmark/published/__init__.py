"""Points that papers published, and how they compare with measured ones."""
