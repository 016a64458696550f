"""Language models served and measured: an OpenAI-compatible server, a load generator, downloads."""
