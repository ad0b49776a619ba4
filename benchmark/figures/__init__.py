"""Tables and pictures drawn from summarised rows."""
