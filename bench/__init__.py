"""Measured speed; `python -m bench` (make bench) writes RESULTS.md. See README.md beside this."""
