"""What is served and asked over HTTP: metrics, API, live page, pager."""
