"""charlm on a lab: its commits, and what ckptless wrote down about it."""
import atexit
import glob
import json
import os
import subprocess

from benchlab import BenchError, wait_for

RANKS = 4


class Commits:
    """The files of charlm's --commit-log: which rank committed which step when (ns)."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.offsets = [0] * RANKS
        self.records = [[] for _ in range(RANKS)]  # (step, ns), oldest first

    def read(self):
        for rank in range(RANKS):
            try:
                with open(f'{self.prefix}.{rank}', 'rb') as file:
                    file.seek(self.offsets[rank])
                    text = file.read()
            except FileNotFoundError:
                continue
            text = text[:text.rfind(b'\n') + 1]
            self.offsets[rank] += len(text)
            for line in text.splitlines():
                _, step, time_ns = line.split()
                self.records[rank].append((int(step), int(time_ns)))
        return self

    def last_step(self):
        """The newest step that every rank has committed; 0: none."""
        self.read()
        return min(max((step for step, _ in reversed(records[-50:])), default=0) for records in self.records)

    def all_first_ns(self):
        """When the last rank had committed its first step; None: not yet."""
        self.read()
        return max(records[0][1] for records in self.records) if all(self.records) else None

    def all_ns(self, step, after_ns=0):
        """When the last rank had committed this step, done again where it was lost; None: not yet."""
        self.read()
        moments = [max((ns for s, ns in records[-400:] if s == step and ns > after_ns), default=None)
                   for records in self.records]
        return None if None in moments else max(moments)

    def step_ms(self, first, last):
        """Mean time of the steps first + 1 to last on rank 0."""
        moments = dict(self.read().records[0])
        return (moments[last] - moments[first]) / 1e6 / (last - first)


class Job:
    """srun of charlm in a directory of its own."""

    def __init__(self, lab, inst, work, srun_options, charlm_options):
        self.lab = lab
        os.makedirs(work)
        self.work = work
        self.commits = Commits(f'{work}/commit')
        self.events = []
        self.events_offset = 0
        self.output = f'{work}/output'
        with open(self.output, 'w', encoding='ascii') as output:
            self.srun = subprocess.Popen(
                ['srun', *srun_options, f'{inst}/lib/ckptless/examples/charlm', '--print-every', '1000000',
                 '--commit-log', self.commits.prefix, *charlm_options],
                cwd=work, env=lab.env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        atexit.register(self.srun.kill)

    def tail(self):
        with open(self.output, encoding='utf-8', errors='replace') as output:
            return output.read()[-1500:].strip()

    def check_lives(self):
        if self.srun.poll() is not None:
            raise BenchError(f'srun has ended with code {self.srun.returncode}: {self.tail()}')
        return True

    def read_events(self, kind):
        """All events of a kind so far, from the JSON lines file."""
        for path in glob.glob(f'{self.work}/ckptless-*.jsonl'):
            with open(path, 'rb') as file:
                file.seek(self.events_offset)
                text = file.read()
            text = text[:text.rfind(b'\n') + 1]
            self.events_offset += len(text)
            self.events += [json.loads(line) for line in text.splitlines()]
        return [event for event in self.events if event['event'] == kind]

    def rank_hosts(self):
        """Where each rank lives: as the step began, and moved by the losses since."""
        hosts = list(self.read_events('start')[0]['hosts'])
        for loss in self.read_events('loss'):
            for rank, host in zip(loss['ranks'], loss['target_hosts']):
                hosts[rank] = host or hosts[rank]
        return hosts

    def spare_is_ready(self):
        """A spare has said that it is warm (a successor: that it has joined), and not been taken since."""
        self.read_events('spare')
        ready = set()
        for event in self.events:
            if event['event'] == 'spare' and ('warm' in event['text'] or 'joined' in event['text']):
                ready.add(event['host'])
            elif event['event'] == 'loss':
                ready -= set(event['target_hosts'])
        return bool(ready)

    def wait_step(self, step, seconds=60):
        """Until every rank has committed this step."""
        wait_for(seconds, lambda: self.check_lives() and self.commits.last_step() >= step, f'step {step} of charlm')

    def wait_end(self, seconds):
        try:
            code = self.srun.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f'srun does not end: {self.tail()}') from None
        if code != 0:
            raise BenchError(f'srun ended with code {code}: {self.tail()}')

    def cancel(self):
        self.lab.slurm('scancel', '--user=root')
        try:
            self.srun.wait(15)
        except subprocess.TimeoutExpired:
            self.srun.kill()
            self.srun.wait()
