"""The fault soak: workers die, stop, freeze and change under load; the counts must come out exact."""
