"""The loop around an agent: workplaces, evaluation, checkpoints, the synchronous and the asynchronous trainer."""
