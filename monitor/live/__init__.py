"""What a worker answers: snapshots, metrics in text, the API."""
