"""Pure kernels between a wish and a torque, and their configurations. Each may only shrink, slow or stop its input."""
