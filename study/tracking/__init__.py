"""Copies of the records for other tools: MLflow's runs and model registry, and generators."""
