#!/bin/sh
# MLflow's server. PostgreSQL's password reaches it by the environment: as a part of the store's
# address it would stand in process lists and logs.
set -eu
PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
export PGPASSWORD
exec mlflow server "$@"
