"""Replay, networks and the soft actor-critic update that all agents share."""
