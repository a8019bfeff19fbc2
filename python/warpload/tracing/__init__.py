"""What `warpload trace` does."""
