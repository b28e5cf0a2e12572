#!/usr/bin/env bash
# Trains on all hosts of a TPU pod slice. An example, to be run where gcloud is set up:
#
#   TPU=my-slice ZONE=us-central2-b bash launch/cluster/tpu.sh --config=configs/paper.py:net8,flightnn \
#       --workdir=/mnt/shared/runs/net8 --data_dir=/mnt/shared/tfds
#
# Each host needs this repository in ~/flightnn_jax with `pip install '.[data,tpu,train]'` done, and the
# workdir on storage that all hosts share, such as Filestore or a bucket under gcsfuse.
set -euo pipefail

printf -v arguments '%q ' "$@"
exec gcloud compute tpus tpu-vm ssh "${TPU:?name of the slice}" --zone="${ZONE:?its zone}" \
  --worker=all --command="cd ~/flightnn_jax && python3 -m launch.train --multihost $arguments"
