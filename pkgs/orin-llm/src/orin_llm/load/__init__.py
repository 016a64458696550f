"""bench-llm: load on OpenAI-compatible servers, and what they answer in which time."""
