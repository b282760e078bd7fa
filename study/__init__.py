"""The engine: where Ray, Optuna and MLflow meet."""
