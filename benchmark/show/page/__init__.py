"""The report as one HTML page in which a point of a curve opens into pixels."""
