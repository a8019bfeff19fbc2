"""A server of images: loads one pipeline through warpload, says when it is ready, and draws what it is asked for."""
