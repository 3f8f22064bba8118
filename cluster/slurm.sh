#!/bin/bash
# One run on several nodes of a Slurm cluster:  sbatch cluster/slurm.sh --preset mnist --output "$HOME/results/mnist"
# Not tried here: it needs Slurm. No dashboard is started, so that the package alone is enough, without an extra.
# A job that was cut off by its time limit is continued by the same command. For GPUs: #SBATCH --gpus-per-node=1, and
# --gpus-per-worker 1 (or a fraction) behind sbatch's own options.
#SBATCH --job-name=grad-instructor
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@60
set -euo pipefail

# The token lets only those who can read it, you, use the cluster.
umask 077
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="${SLURM_SUBMIT_DIR:-$PWD}/.ray-token-${SLURM_JOB_ID:-0}"
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$RAY_AUTH_TOKEN_PATH"
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"' EXIT
export OMP_NUM_THREADS=1 RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address=$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --ip-address | awk '{print $1}')
port=$((20000 + ${SLURM_JOB_ID:-0} % 20000))

srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" --overlap \
  ray start --head --node-ip-address="$address" --port="$port" --include-dashboard=false \
  --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 15
for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 --nodelist="$node" --overlap \
    ray start --address="$address:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
done
sleep 15

grad-instructor run --address "$address:$port" "$@" &
trap 'kill -TERM $!; wait $!' TERM
wait $!
