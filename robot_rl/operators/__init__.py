"""Who can demonstrate: operators that map what a person could sense to an action."""
