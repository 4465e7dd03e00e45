"""The servers that the benchmark compares with: plain chat servers that keep everything in memory."""
