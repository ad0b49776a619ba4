"""Files and texts of others: read with limits, shown without the commands that they may hold."""
