"""Input devices behind one small protocol: a gamepad, a SpaceMouse, the keyboard of a terminal."""
