"""Teleoperation: devices, their mapping to actions, the dead-man, and what a person's hand is recorded as."""
