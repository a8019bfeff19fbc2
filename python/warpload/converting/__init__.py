"""What `warpload convert` does: safetensors files of what was saved as pickles."""
