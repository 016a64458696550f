"""What requests and answers look like: OpenAI's API, and vLLM's additions to it."""
