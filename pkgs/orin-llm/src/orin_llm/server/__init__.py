"""llm-server: the HTTP interface."""
