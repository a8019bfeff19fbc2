"""What `warpload inspect` does: what lies in a pipeline, a model or a file, and what a load would do with it."""
