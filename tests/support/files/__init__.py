"""Files in the formats that are read: made, served, hostile."""
