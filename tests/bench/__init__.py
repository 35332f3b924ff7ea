"""The benchmarks: a real server under load on this machine, and beside every figure its limit in the same run.

How to read what comes out: docs/bench.md.
"""
