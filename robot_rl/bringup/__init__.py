"""Bring-ups: which processes a robot PC runs, said once in a table, for `robot-rl up` and for launch files alike."""
