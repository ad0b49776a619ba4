"""Cases on which verdicts are judged."""
