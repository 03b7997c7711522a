"""Agents: one file each. `registry.make_agent` finds them by name."""
