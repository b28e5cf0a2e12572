#!/usr/bin/env bash
# Trains a sweep as an array of Slurm jobs that share its members, without submitit. An example: set
# the partition, the number of jobs and the time. Members that are done are never trained again, so
# a job that was preempted or met its time limit waits in the queue again and goes on.
#
#   sbatch --array=0-3 launch/cluster/sweep.sh --config=configs/paper.py:net1,flightnn \
#       --over=budget=1,1.25,1.5,2 --over=seed=0,1,2 --workdir=/shared/runs/net1 --data_dir=/shared/tfds
#
#SBATCH --job-name=flightnn
#SBATCH --cpus-per-task=2
#SBATCH --time=4:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?start this with sbatch, from the root of the repository}"

code=0
srun .venv/bin/python -m launch.sweep --shard=auto "$@" || code=$?
# 143: SIGTERM came, and the member in training was saved. Slurm starts no job again that ends by
# itself, not even one that it preempts. After scancel this line is not reached.
if [ "$code" = 143 ]; then
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" # the id alone may be the whole array's
fi
exit "$code"
