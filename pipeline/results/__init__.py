"""What a run leaves behind: records (written first), their mirror in MLflow, statistics, tables and figures."""
