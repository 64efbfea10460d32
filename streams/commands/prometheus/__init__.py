"""Commands that ask Prometheus over HTTP."""
