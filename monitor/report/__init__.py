"""The digest of the last days: asked of Prometheus, added up, put into words."""
