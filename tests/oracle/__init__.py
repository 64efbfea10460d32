"""A second count of journeys, written from the README files alone. It imports nothing of the product."""
