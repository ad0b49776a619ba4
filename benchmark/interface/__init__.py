"""The Python interface, offered by `import benchmark`: measure, load, summarise, compare, plot.

    >>> import benchmark
    >>> frame = benchmark.load("results/kodak")
    >>> means = benchmark.summary(frame)
    >>> rates = benchmark.bd_rate(frame, anchor="jpeg", metric="psnr")

Every function raises the errors of `benchmark.errors`, whose messages say what to do, and prints
nothing unless asked to. docs/python.md explains them with examples.
"""
