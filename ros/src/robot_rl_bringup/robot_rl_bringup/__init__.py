"""The ROS package of robot-rl: launch files, and one executable a node. All code is in the Python package robot-rl."""
