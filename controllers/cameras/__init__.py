"""Cameras without ROS: one protocol for a RealSense, a recording, a software device and a simulated scene."""
