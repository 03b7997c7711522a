"""What each command does: thin sequences over the parts."""
