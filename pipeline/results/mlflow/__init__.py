"""The mirror of a run's records in MLflow, its UI, and its health. Importing this imports no MLflow."""

from pipeline.results.mlflow.address import given
from pipeline.results.mlflow.mirror import Mirror
from pipeline.results.mlflow.server import health, ui_command, ui_environment

__all__ = ["Mirror", "given", "health", "ui_command", "ui_environment"]
