"""The flight recorder: the last seconds before a latch, every tick, in one file.

- `config`: where files go, and how much is kept
- `file`: what a file holds; written whole or not at all, read with every doubt
- `buffer`: the newest reports in memory, and what to write when
- `process`: a process of its own beside a motor process, which only reads
"""
