"""The leader on a spare is lost: nobody else is, and no rank is interrupted. How long they stand still."""
import statistics
import time

from benchjob import RANKS
from benchlab import BenchError, kill_process, say, wait_for
from benchtable import number, table

STEADY = 50
SECONDS = 2.0  # looked at before and after each kill
LEADER = f'n{RANKS + 1}'


def longest_ms(job, begin_ns, end_ns):
    """The longest time between two commits of a rank that touches this span."""
    longest = 0
    for records in job.commits.read().records:
        moments = [ns for _, ns in records]
        for earlier, later in zip(moments, moments[1:]):
            if later > begin_ns and earlier < end_ns:
                longest = max(longest, (later - earlier) / 1e6)
    return longest


def lose_leader(job, lab, powered_off):
    """One kill; the longest pause before it, and after it."""
    job.wait_step(STEADY)
    wait_for(30, lambda: job.check_lives() and job.spare_is_ready(), 'a spare')
    began_ns = time.monotonic_ns()
    time.sleep(SECONDS)
    killed_ns = lab.power_off(LEADER) if powered_off else kill_process(lab.pids(LEADER, 'ckptlessd'), f'ckptlessd on {LEADER}')
    time.sleep(SECONDS)
    ended_ns = time.monotonic_ns()
    wait_for(10, lambda: job.check_lives() and min(records[-1][1] for records in job.commits.read().records) > ended_ns,
             'further commits')
    if job.read_events('loss') or job.read_events('resume'):
        raise BenchError('a rank was interrupted')
    return longest_ms(job, began_ns, killed_ns), longest_ms(job, killed_ns, ended_ns)


def measure(lab, options, start_job):
    rows = []
    for name, powered_off in (('helper killed', False), ('node silent', True)):
        before, after, failures = [], [], 0
        for i in range(options.kills):
            job = start_job(lab, options, f'pause-{"node" if powered_off else "helper"}-{i}')
            try:
                pauses = lose_leader(job, lab, powered_off)
                before.append(pauses[0])
                after.append(pauses[1])
                say(f'leader on a spare, {name}: longest pause {pauses[0]:.1f} ms before, {pauses[1]:.1f} ms after')
            except BenchError as error:
                failures += 1
                say(f'FAILED: leader on a spare, {name}: {error}\n{job.tail()}')
            job.cancel()
            if powered_off:
                lab.revive(LEADER)
            lab.wait_idle()
        columns = [f'{number(statistics.median(values))} ({number(max(values))})' if values else '-' for values in (before, after)]
        rows.append([name, f'{len(after)} of {len(after) + failures}', *columns])
    print('### The leader on a spare is lost\n\nNo rank is lost with it, and none is interrupted. The longest time between two '
          f'commits of a rank, ms, median (max), in {SECONDS:g} s before the kill and after it.\n')
    table(['', 'nobody interrupted', 'before', 'after'], rows)
