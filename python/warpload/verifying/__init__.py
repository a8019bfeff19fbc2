"""What `warpload verify` does: the same thing loaded by stock and by the core, and all that came of both compared."""
