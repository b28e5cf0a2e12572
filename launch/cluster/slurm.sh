#!/usr/bin/env bash
# Trains on several nodes under Slurm, one process a node, and goes on by itself when it was
# preempted. An example: set the partition, the nodes and the paths.
#
#   sbatch launch/cluster/slurm.sh --config=configs/paper.py:net8,flightnn --workdir=/shared/runs/net8 \
#       --data_dir=/shared/tfds
#
#SBATCH --job-name=flightnn
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?start this with sbatch, from the root of the repository}"

# JAX finds the other processes by Slurm's variables. The workdir must be on storage that all nodes
# share. Slurm's SIGTERM saves; started again, the same command goes on from there. Slurm starts no
# job again that ends by itself, not even one that it preempts. After scancel nothing here is reached.
code=0
srun .venv/bin/python -m launch.train --multihost "$@" || code=$?
if [ "$code" = 143 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
