"""Numbers into Markdown, ready for docs/PERFORMANCE.md."""
import math
import os
import shlex
import statistics
import sys
import time

from benchlab import TOP, run

# Student's t, two-sided 95 %, by degrees of freedom.
T95 = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
       2.131, 2.120, 2.110, 2.101, 2.093, 2.086)


def number(value):
    """Three digits or more, no false precision."""
    return '-' if value is None else f'{value:.0f}' if abs(value) >= 1000 else f'{value:.1f}' if abs(value) >= 10 \
        else f'{value:.2f}'


def spread(values):
    """Min, median, max as cells."""
    if not values:
        return ['-', '-', '-']
    return [number(min(values)), f'**{number(statistics.median(values))}**', number(max(values))]


def mean_interval(values):
    """Mean and half the width of its 95 % confidence interval."""
    count = len(values)
    if count < 2:
        return statistics.fmean(values), math.nan
    t95 = T95[count - 1] if count <= len(T95) else 1.96
    return statistics.fmean(values), t95 * statistics.stdev(values) / math.sqrt(count)


def table(head, rows):
    """The first column is text, the others numbers."""
    lines = [head, ['---'] + ['---:'] * (len(head) - 1)] + [[str(cell) for cell in row] for row in rows]
    print('\n'.join('| ' + ' | '.join(line) + ' |' for line in lines) + '\n', flush=True)


def heading(title):
    """Title, command, machine: what a number is worth nothing without."""
    model = 'unknown CPU'
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        for line in file:
            if line.startswith('model name'):
                model = line.split(':', 1)[1].strip()
                break
    try:
        commit = run('git', '-C', TOP, 'describe', '--always', '--dirty').strip()
    except Exception:  # a tarball
        commit = 'no git'
    command = shlex.join(['bench/' + os.path.basename(sys.argv[0])] + sys.argv[1:])
    slurm = run('/usr/sbin/slurmctld', '-V').strip()
    print(f'## {title}\n\n`{command}`, {time.strftime("%Y-%m-%d")}, tree {commit}. All nodes on one machine: '
          f'{os.cpu_count()} virtual cores, {model}, Linux {os.uname().release}, {slurm}; load {os.getloadavg()[0]:.1f} '
          'when it began.\n', flush=True)
