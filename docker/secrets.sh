#!/bin/sh
# Make the passwords that compose.yaml mounts into its services: once, in docker/secrets (or the
# folder given), which neither git nor the image has. The folder is its owner's alone; the files
# are readable, because a container's user is another one.
set -eu
folder=${1:-$(dirname "$0")/secrets}
umask 022
mkdir -m 700 "$folder"
cd "$folder"

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
random > ray_token
random > postgres_password
key=$(random)
cat > s3_credentials <<END
[default]
aws_access_key_id = mlflow
aws_secret_access_key = $key
END
# Only an "Admin" may make MLflow's bucket. The store has no other, and only MLflow reaches it.
cat > s3_identities.json <<END
{"identities": [{"name": "mlflow", "actions": ["Admin"],
  "credentials": [{"accessKey": "mlflow", "secretKey": "$key"}]}]}
END
