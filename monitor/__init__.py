"""The domain: what a touchpoint event means and how quality is counted. Imports nothing of `streams`."""
