"""The demo: a broker, made-up traffic with faults, a worker, one summary."""
