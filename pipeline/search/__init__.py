"""Search over settings: a file of ``tune_configs`` and a function that judges a candidate become Ray Tune trials."""
