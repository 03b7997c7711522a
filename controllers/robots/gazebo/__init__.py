"""Gazebo Classic 11 as a simulator in lock-step: its programs, our plugin for it, and the way to talk to that."""
