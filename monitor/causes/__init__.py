"""What bad encounters have in common, and where it is not."""
