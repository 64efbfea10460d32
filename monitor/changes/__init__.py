"""What a change did: before and after, with the untouched segments as control."""
