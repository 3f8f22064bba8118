"""What an ENN looks at."""

from pipeline.explain.gradcam import GradCAM, explain

__all__ = ["GradCAM", "explain"]
