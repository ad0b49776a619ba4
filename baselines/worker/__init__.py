"""Codecs that run in their authors' environment: another Python, other libraries, another machine.

`rdrbench_worker.py` is copied beside the authors' model and served from there; a contender file
says how it is started; `codec.py` reads it, and is the codec that the harness measures.
"""
