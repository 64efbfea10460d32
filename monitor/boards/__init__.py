"""The Grafana boards, written from the journey file."""
