"""A request to cells: what has to be measured, what is done, and how long the rest takes."""
