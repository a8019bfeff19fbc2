"""The demonstration behind `warpload demo`: the synthetic pipeline, which benchmarks/ load too, and what is shown."""
