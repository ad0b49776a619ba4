"""Tables and figures of summarised rows."""
