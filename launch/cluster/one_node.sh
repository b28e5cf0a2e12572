#!/usr/bin/env bash
# Starts a Slurm of this one machine, to try jobs of several processes: time limits, preemption,
# arrays. For a container or a machine to throw away, as root, on Debian 12:
#
#   apt-get install -y --no-install-recommends slurm-wlm munge && bash launch/cluster/one_node.sh
#
# Partition `low` may be preempted by `high`; jobs of `low` then have 60 seconds to save.
set -euo pipefail
host=$(hostname -s)

mkdir -p /etc/slurm /run/munge /var/log/slurm /var/spool/slurmctld /var/spool/slurmd
if [ ! -f /etc/munge/munge.key ]; then
  (umask 077 && dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none)
fi
chown root:root /etc/munge/munge.key /run/munge /var/lib/munge /var/log/munge
pgrep -x munged >/dev/null || munged --force # as root; its own user may lack /dev/null in a container

cat >/etc/slurm/slurm.conf <<CONF
ClusterName=one
SlurmctldHost=$host
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
NodeName=$host CPUs=$(nproc) State=UNKNOWN
PartitionName=low Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=high Nodes=$host MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF

slurmctld
sleep 2
slurmd
sleep 2
sinfo
