"""Teaching a task by hand guiding: from poses that an operator shows to the file of a taught task."""
