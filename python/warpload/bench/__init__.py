"""What `warpload bench` does with what `warpload.measuring` measures: options, tables, plots, growing files."""
