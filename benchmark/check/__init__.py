"""Two sets of rows to a verdict: is the new one better, equal or worse?"""
