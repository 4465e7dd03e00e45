"""Side-by-side measurements of this server and others; see docs/performance.md. Run with `python -m benchmarks`."""
