"""Faults injected from outside into real processes, and what the arm did: `robot-rl bench faults`.

- `arm`: a simulated arm that errs on order, and a log of what its drive really applied; inside the motor process
- `policy`: a policy in a process of its own, to be killed and stopped
- `stage`: motor process, arm and policy as a fault finds them
- `judging`: what is read off the reports
- `ros_stage`: the same with every part a ROS program (`program`); `wall_clock`: a wall clock for them alone
- `cases_*`: the faults; `fault`, `catalogue`, `ros_faults`: their table
- `runner`: repeats, results, table; `stalls`: what disturbs a repeat on a machine that others share
"""
