"""One customer's journey: its steps, what is open in it, what it comes to when it closes."""
