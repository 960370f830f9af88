"""The same program under what people do today, without ckptless: srun again from the checkpoint, and Slurm's requeue.

Measured twice: to the first step that every rank has committed again, although it had been done before the kill, and to
the one after the last that had been done: the steps since the checkpoint are lost, and how many they are depends on the
checkpoint's interval. The kill's place in that interval is random.
"""
import os
import random
import threading

from benchjob import RANKS, Commits
from benchlab import BenchError, Lab, kill_process, say, wait_for

CHECKPOINT_EVERY = 500  # steps, as in examples/charlm/charlm.sbatch
NODES = ['n1', 'n2', 'n3', 'n4', 'n5']

# Attempt A of charlm leaves its commits in commit-A.RANK; its ranks meet in a directory of the attempt.
SCRIPT = """#!/bin/bash
attempt() {{
    mkdir -p "{work}/meet-$1"
    srun {options} {charlm} --steps 100000000 --step-ms {step_ms} --print-every 1000000 --checkpoint {work}/checkpoint \\
        --checkpoint-every {every} --commit-log "{work}/commit-$1" --rendezvous-dir "{work}/meet-$1"
}}
{body}
"""
LOOP = 'for ((i = 0; ; i++)); do attempt $i && break; done'
REQUEUED = 'attempt ${SLURM_RESTART_COUNT:-0}'


def submit(lab, inst, work, step_ms, body, options, sbatch_options=()):
    os.makedirs(work)
    with open(f'{work}/script', 'w', encoding='ascii') as script:
        script.write(SCRIPT.format(work=work, options=options, step_ms=step_ms, every=CHECKPOINT_EVERY, body=body,
                                   charlm=f'{inst}/lib/ckptless/examples/charlm'))
    lab.slurm('sbatch', f'--nodes={RANKS}', '--ntasks-per-node=1', f'--output={work}/output', '--open-mode=append',
              f'--chdir={work}', *sbatch_options, f'{work}/script')


def wait_trained(work, attempt, steps):
    """Until every rank has done so many steps, of which at least one checkpoint's worth."""
    commits = Commits(f'{work}/commit-{attempt}')
    wait_for(60, commits.last_step, 'the first step', 0.1)
    first_step = commits.records[0][0][0]
    wait_for(120, lambda: commits.last_step() >= first_step + steps, 'training', 0.1)


def wait_restart(work, attempt, began_ns, seconds):
    """(ms to the first step committed by all, ms until what was lost is done again)."""
    lost, now = Commits(f'{work}/commit-{attempt}'), Commits(f'{work}/commit-{attempt + 1}')
    next_step = lost.last_step() + 1
    first_ns = wait_for(seconds, now.all_first_ns, f'attempt {attempt + 1}', 0.1)
    # A rank that died before it noted its commit may have left a checkpoint of that step: it is not done again then.
    next_step = max(next_step, now.records[0][0][0])
    again_ns = wait_for(120, lambda: now.all_ns(next_step), f'step {next_step} again', 0.1)
    return (first_ns - began_ns) / 1e6, (again_ns - began_ns) / 1e6


def restart(inst, work, runs, step_ms):
    """A process is killed; srun -K ends the step and the batch script's loop starts it again."""
    lab, results = Lab(len(NODES)), []
    work = f'{work}/restart'
    submit(lab, inst, work, step_ms, LOOP, '--kill-on-bad-exit=1')
    for attempt in range(runs):
        wait_trained(work, attempt, CHECKPOINT_EVERY + random.randrange(CHECKPOINT_EVERY))
        node = random.choice([node for node in NODES if lab.pids(node, 'charlm')])
        began_ns = kill_process(lab.pids(node, 'charlm'), f'charlm on {node}')
        results.append(wait_restart(work, attempt, began_ns, 60))
        say(f'srun again: {results[-1][0]:.0f} ms, lost steps done again after {results[-1][1]:.0f} ms')
    lab.down()
    return results


def requeue_once(inst, work, index, step_ms):
    lab = Lab(len(NODES), '--slurmd-timeout', '5')
    work = f'{work}/requeue-{index}'
    submit(lab, inst, work, step_ms, REQUEUED, '', ['--requeue'])
    wait_trained(work, 0, CHECKPOINT_EVERY + random.randrange(CHECKPOINT_EVERY))
    node = random.choice([node for node in NODES[1:] if lab.pids(node, 'charlm')])
    began_ns = lab.power_off(node)
    result = wait_restart(work, 0, began_ns, 400)
    say(f'requeue: {result[0]:.0f} ms, lost steps done again after {result[1]:.0f} ms')
    lab.down()
    return result


def requeue(inst, work, runs, step_ms):
    """A node goes silent; slurmctld gives it up and requeues the job. Mostly waiting: all runs at once, a lab for each."""
    results = []
    # Daemons: who interrupts the benchmark need not wait for them.
    threads = [threading.Thread(target=lambda index=index: results.append(requeue_once(inst, work, index, step_ms)),
                                daemon=True) for index in range(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(results) < runs:
        raise BenchError(f'requeue: {runs - len(results)} of {runs} runs failed')
    return results
