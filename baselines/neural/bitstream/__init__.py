"""The container of learned codecs, its control maps and its tiles."""
