"""Codecs that run in their authors' environment: another Python, other libraries, another machine.

`rdrbench_worker.py` is copied beside the authors' model and served from there; a contender file
(`contender.py`) says how it is started; `codec.py` is the codec that the harness measures.
"""
